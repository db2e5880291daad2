"""The outermost layer: measures each request, and turns what nobody caught into a 500 that says nothing."""

import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems
from app.observability.metrics import Metrics
from app.server.connection_app import AnswerBroken
from workers.contract.runtime.tracing import OFF, Span, Tracing

NO_ROUTE = "none"
SERVER_FAULT = 500
UNTRACED = {"/livez", "/readyz", "/metrics"}


def route_of(scope: Scope) -> str:
    """Return the template of the route that served a request, or where its application is mounted."""
    return getattr(scope.get("route"), "path", "") or scope.get("root_path") or NO_ROUTE


class RequestMetricsMiddleware:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing = OFF) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        tracing = OFF if scope["path"] in UNTRACED else self._tracing
        with tracing.serving(scope["method"], Headers(scope=scope), http__request__method=scope["method"]) as span:
            await self._observed(scope, receive, send, span)

    async def _observed(self, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
        started = time.perf_counter()
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except AnswerBroken:
            raise
        except Exception as fault:
            answer = problems.internal(fault)
            if status:
                raise
            await answer(scope, receive, noting)
        finally:
            route = route_of(scope)
            self._metrics.observe(scope["method"], route, status, time.perf_counter() - started)
            span.rename(f"{scope['method']} {route}")
            span.note(http__route=route, http__response__status_code=status)
            if status >= SERVER_FAULT:
                span.fail(str(status))
