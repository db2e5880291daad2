"""Headers of the answers, as the OpenAPI document declares them."""

from typing import Any

from app.api.headers import REPLAYED
from app.auth.allowance import LIMIT, REMAINING, RESET


def _whole(description: str, example: int) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "integer", "minimum": 0}, "example": example}


RETRY_AFTER, REQUEST_ID = "Retry-After", "X-Request-Id"
HEADERS: dict[str, dict[str, Any]] = {
    RETRY_AFTER: _whole("seconds after which to try again", 5),
    LIMIT: _whole("requests for work that the key may make in its window; absent when its rate is not limited", 60),
    REMAINING: _whole("how many of them are left", 59),
    RESET: _whole("seconds until one more is free", 1),
    REQUEST_ID: {
        "description": "the request's id in the gateway's log: that of the request, where it brought one, or a new one",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "example": "3f1c9a5be0d24c71",
    },
    REPLAYED: {
        "description": "`true` when an earlier request with the same `Idempotency-Key` made what is answered",
        "schema": {"type": "string", "const": "true"},
        "example": "true",
    },
}
BUSY = ("429", "503")
"""Statuses that say when to try again."""
COUNTED = ("400", "409", "413", "415", "422", "429")
"""Refusals of a request that was counted."""
IDEMPOTENCY_KEY = "Idempotency-Key"


def declare_headers(verb: str, operation: dict[str, Any]) -> None:
    """Declare the headers of an operation's answers."""
    keyed = any(parameter.get("name") == IDEMPOTENCY_KEY for parameter in operation.get("parameters", ()))
    for status, response in operation["responses"].items():
        made = verb == "post" and status.startswith("2")
        names = [REQUEST_ID]
        names += [RETRY_AFTER] if status in BUSY else []
        names += [LIMIT, REMAINING, RESET] if verb == "post" and (made or status in COUNTED) else []
        names += [REPLAYED] if made and keyed else []
        declared = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
        response["headers"] = response.get("headers", {}) | declared
