"""Around each request: its id, its measures, its line in the log; what nobody caught is a 500 that says nothing."""

import time

from opentelemetry.trace import INVALID_SPAN, Span, SpanKind
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems
from app.errors import AnswerBroken
from app.middleware.access_log import REQUEST_ID, AnsweredRequest, caller_of, request_id_of
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

    def __init__(self, app: ASGIApp, metrics: Metrics, *, access_log: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._access_log = access_log

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
        started, answer = time.perf_counter(), AnsweredRequest(request_id_of(scope))

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                add_headers(message, scope, answer)
            else:
                answer.size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except AnswerBroken:
            raise
        except Exception as fault:
            shown = problems.report_bug(fault, answer.request_id)
            if answer.status:
                raise
            await shown(scope, receive, noting)
        finally:
            answer.seconds = time.perf_counter() - started
            self._tell(scope, answer, span)

    def _tell(self, scope: Scope, answer: AnsweredRequest, span: Span) -> None:
        """Measure an answer, end its span, write its line."""
        route, verb = route_of(scope), self._metrics.verb(scope["method"])
        self._metrics.observe(verb, route, answer.status, answer.seconds)
        if self._access_log:
            answer.log(verb, route, caller_of(scope))
        span.update_name(f"{scope['method']} {route}")
        span.set_attributes({"http.route": route, "http.response.status_code": answer.status})
        if answer.status >= SERVER_FAULT:
            set_error(span, str(answer.status))


def add_headers(message: Message, scope: Scope, answer: AnsweredRequest) -> None:
    """Add to the start of an answer its id, and how many requests the caller's key has left where they are counted."""
    headers = MutableHeaders(scope=message)
    headers[REQUEST_ID] = answer.request_id
    if caller := caller_of(scope):
        headers.update(caller.allowance.headers())
