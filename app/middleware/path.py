"""One spelling of each address before it is routed: without the public prefix, without the version; HEAD is GET.

A proxy may hand on the path of STYLIZE_GATEWAY_PUBLIC_URL or take it off. `/v1/jobs` and `/jobs` are the same.
"""

from collections.abc import Awaitable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

VERSION = "/v1"
"""Before the paths of ours that are promised to stay as they are."""
ENDLESS = "/events"
"""A stream has no end that a HEAD could wait for."""
OUTSIDE = "x-forwarded-proto"


def first_segment(path: str) -> str:
    """Return what stands between the first two slashes of a path."""
    return path[1:].partition("/")[0]


def prefix_of(public_url: str | None) -> str:
    """Return the path below which callers reach the service; empty when that is the root."""
    return urlsplit(public_url or "").path.rstrip("/")


class PathMiddleware:
    """Takes prefix and version off, serves HEAD as GET; the server sends no body for it.

    `versioned` are the first segments of the paths that are known by their version too, `plain` those of others.
    """

    def __init__(
        self, app: ASGIApp, public_url: str | None, versioned: Collection[str], plain: Collection[str]
    ) -> None:
        self._app = app
        self._prefix = prefix_of(public_url)
        self._versioned = frozenset(versioned)
        self._known = {"", VERSION[1:], *versioned, *plain}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request; what it returns is the application's own, so that nothing here runs again meanwhile."""
        if scope["type"] == "http":
            scope = {**scope, "path": self._short(scope["path"]), "scheme": _scheme(scope)}
            if scope["method"] == "HEAD" and not scope["path"].endswith(ENDLESS):
                scope["method"] = "GET"
        return self._app(scope, receive, send)

    def _short(self, path: str) -> str:
        below = path.removeprefix(self._prefix)
        if below != path and below.startswith("/") and first_segment(below) in self._known:
            path = below
        rest = path.removeprefix(VERSION)
        return rest if rest != path and first_segment(rest) in self._versioned else path


def _scheme(scope: Scope) -> str:
    """Return how the caller reached the service: TLS may end before us, and no address leads back to http."""
    outside = Headers(scope=scope).get(OUTSIDE, "").partition(",")[0].strip().lower()
    return "https" if outside == "https" else str(scope["scheme"])
