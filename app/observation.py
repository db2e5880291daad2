"""The outermost layer: measures each request, and turns what nobody caught into a 500 that says nothing."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems
from app.metrics import Metrics

NO_ROUTE = "none"


class Observation:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = time.perf_counter()
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as fault:
            answer = problems.internal(fault)
            if status:
                raise
            await answer(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            self._metrics.observe(scope["method"], route, status, time.perf_counter() - started)
