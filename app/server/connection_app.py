"""The application as one connection sees it: silent once its peer is lost, without chunks for HTTP/1.0."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.errors import AnswerBroken


class ConnectionApp:
    """Serves one request of uvicorn's; `cycle` is uvicorn's state of it."""

    def __init__(self, app: ASGIApp, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it. What fails because the peer went away is no fault to report."""
        try:
            await self._app(scope, receive, self._unchunked(send) if scope["http_version"] == "1.0" else send)
        except AnswerBroken:
            self._cycle.disconnected = True
            self._cycle.transport.abort()
        except Exception:
            if not self._cycle.disconnected:
                raise

    def _unchunked(self, send: Send) -> Send:
        """Return a `send` whose body ends with the connection when its length is not known."""
        streams = False

        async def sending(message: Message) -> None:
            nonlocal streams
            if message["type"] == "http.response.start":
                streams = not any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
                if streams:
                    self._cycle.chunked_encoding = False
            elif streams:
                self._cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        return sending
