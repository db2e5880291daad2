"""Headers of requests for pictures.

`Prefer` (RFC 7240): how long a caller waits for the answer; `Cancel-After`: how long a job may take; `Idempotency-Key`:
which requests are the same.
"""

import re
from datetime import timedelta

from starlette.requests import Request

from app.errors import Fault, Invalid

PREFER = "Prefer"
APPLIED = "Preference-Applied"
CANCEL_AFTER = "Cancel-After"
WAIT = re.compile(r"wait(?:\s*=\s*\"?([0-9]{1,9})\"?)?", re.IGNORECASE)
DURATION = re.compile(r"(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s?)?")
LONGEST = timedelta(hours=24)
KEY_HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
"""`true` on an answer that an earlier request with the same key has had before."""
KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEY_PARAMETER = {
    "name": KEY_HEADER,
    "in": "header",
    "description": "the same key and request: the first answer again; another request: 409",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
}

PARAMETERS = [
    {
        "name": PREFER,
        "in": "header",
        "description": "`wait=n`: 200 with the finished job if it ends within n seconds, else 202 as without it. "
        "`wait` alone, or more than the host allows, means the longest it allows; see `Preference-Applied`",
        "schema": {"type": "string", "maxLength": 256, "examples": ["wait=30"]},
    },
    {
        "name": CANCEL_AFTER,
        "in": "header",
        "description": "the job fails with code `deadline` unless it is done within this time, waiting included: "
        "seconds, or 90s, 5m, 1h30m; at most 24h",
        "schema": {"type": "string", "pattern": r"^([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s?)?$", "examples": ["5m"]},
    },
]


def wait_seconds(header: str | None, longest: int) -> int | None:
    """Return how long the caller wants to wait, at most `longest`; None without a preference that we understand."""
    for preference in (header or "").split(","):
        if found := WAIT.fullmatch(preference.partition(";")[0].strip()):
            return min(int(found[1]), longest) if found[1] else longest
    return None


def cancel_after(header: str | None) -> timedelta | None:
    """Return the time a job may take. Raises Invalid."""
    if header is None:
        return None
    found = DURATION.fullmatch(header.strip())
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    if not 1 <= hours * 3600 + minutes * 60 + seconds <= LONGEST.total_seconds():
        detail = "must be a duration from 1s to 24h, such as 90, 90s, 5m or 1h30m"
        raise Invalid.of([Fault(f"#/{CANCEL_AFTER}", detail)])
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def idempotency_key(request: Request) -> str | None:
    """Return the caller's key. Raises Invalid."""
    key = request.headers.get(KEY_HEADER)
    if key is not None and not KEY.fullmatch(key):
        raise Invalid.of([Fault(f"#/{KEY_HEADER}", "must be 1 to 255 visible ASCII characters")])
    return key
