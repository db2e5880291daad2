"""One line a request: what was asked for by its route, never by its address, which may carry a signature."""

import logging
import re
import secrets
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import Scope

from app.auth.keyring import Caller

log = logging.getLogger("app.access")

REQUEST_ID = "X-Request-Id"
GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}")
QUIET = {"/livez", "/readyz", "/metrics", "/studio", "/static-offline-docs"}
"""Asked again and again, or the parts of a page: told at the level `debug`."""


def request_id_of(scope: Scope) -> str:
    """Return the id that a proxy gave a request, or a new one."""
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if GIVEN.fullmatch(given) else secrets.token_hex(8)


def caller_of(scope: Scope) -> Caller | None:
    """Return who made a request; None before that is known, and where nobody asked."""
    found = scope.get("state", {}).get("caller")
    return found if isinstance(found, Caller) else None


@dataclass
class AnsweredRequest:
    """What became of a request so far; a status of 0 is no answer."""

    request_id: str
    status: int = 0
    size: int = 0
    seconds: float = field(default=0.0)

    def log(self, verb: str, route: str, caller: Caller | None) -> None:
        """Write the line."""
        level = logging.DEBUG if route in QUIET else logging.INFO
        if not log.isEnabledFor(level):
            return
        key = caller.name if caller else None
        fields = {
            "request_id": self.request_id,
            "method": verb,
            "route": route,
            "status": self.status,
            "seconds": round(self.seconds, 6),
            "bytes": self.size,
            "key": key,
        }
        who = f", key {key!r}" if key else ""
        text = "%s %s %d in %.1f ms, %d bytes%s, request %s"
        told = (verb, route, self.status, self.seconds * 1000, self.size, who, self.request_id)
        log.log(level, text, *told, extra=fields)
