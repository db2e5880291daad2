"""HEAD wherever GET is: load balancers and monitors ask that way."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

ENDLESS = "/events"
"""A stream has no end that a HEAD could wait for."""


class HeadMiddleware:
    """Serves HEAD as GET; the server sends no body for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request; what it returns is the application's own, so that nothing here runs again meanwhile."""
        if scope["type"] == "http" and scope["method"] == "HEAD" and not scope["path"].endswith(ENDLESS):
            scope = {**scope, "method": "GET"}
        return self._app(scope, receive, send)
