"""Pages of other sites that the operator lets use the API from a browser (CORS)."""

from collections.abc import Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from app.api.headers import APPLIED, CANCEL_AFTER, KEY_HEADER, PREFER, REPLAYED

VERBS = ("GET", "HEAD", "POST", "DELETE")
TAKEN = (
    *("Authorization", "Content-Type", "If-None-Match", "If-Range", "Last-Event-ID", "Range", "Traceparent"),
    *("X-Request-Id", KEY_HEADER, PREFER, CANCEL_AFTER),
)
"""Headers that a page may send."""
SHOWN = (
    *("Content-Disposition", "Content-Range", "ETag", "Location", "RateLimit-Limit", "RateLimit-Remaining"),
    *("RateLimit-Reset", "Retry-After", "WWW-Authenticate", "X-Request-Id", APPLIED, REPLAYED),
)
"""Headers that a page may read."""
ANSWER_SECONDS = 7200
"""How long a browser keeps what it was told."""


class CrossOriginMiddleware(CORSMiddleware):
    """Tells browsers that pages of these origins may use the API; they bring keys, never cookies."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=VERBS,
            allow_headers=TAKEN,
            expose_headers=SHOWN,
            max_age=ANSWER_SECONDS,
        )
