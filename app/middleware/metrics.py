"""The outermost layer: measures each request, and turns what nobody caught into a 500 that says nothing."""

import time

from opentelemetry.trace import INVALID_SPAN, Span, SpanKind
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems
from app.errors import AnswerBroken
from app.observability.metrics import Metrics
from workers.contract.runtime.tracing import TRACEPARENT, remote_span, set_error, start_span

NO_ROUTE = "none"
SERVER_FAULT = 500
UNTRACED = {"/livez", "/readyz", "/metrics"}


def route_of(scope: Scope) -> str:
    """Return the template of the route that served a request, or where its application is mounted."""
    return getattr(scope.get("route"), "path", "") or scope.get("root_path") or NO_ROUTE


class RequestMetricsMiddleware:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if scope["path"] in UNTRACED:
            return await self._observed(scope, receive, send, INVALID_SPAN)
        method, caller = scope["method"], remote_span(Headers(scope=scope).get(TRACEPARENT))
        with start_span(method, caller, kind=SpanKind.SERVER, attributes={"http.request.method": method}) as span:
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
            answer = problems.report_bug(fault)
            if status:
                raise
            await answer(scope, receive, noting)
        finally:
            route = route_of(scope)
            self._metrics.observe(scope["method"], route, status, time.perf_counter() - started)
            span.update_name(f"{scope['method']} {route}")
            span.set_attributes({"http.route": route, "http.response.status_code": status})
            if status >= SERVER_FAULT:
                set_error(span, str(status))
