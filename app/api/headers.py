"""How long a caller waits for an answer (`Prefer`, RFC 7240), and how long a job may take (`Cancel-After`)."""

import re
from datetime import timedelta

from app.errors import Fault, Invalid

PREFER = "Prefer"
APPLIED = "Preference-Applied"
CANCEL_AFTER = "Cancel-After"
WAIT = re.compile(r"wait(?:\s*=\s*\"?([0-9]{1,9})\"?)?", re.IGNORECASE)
DURATION = re.compile(r"(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s?)?")
LONGEST = timedelta(hours=24)

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
