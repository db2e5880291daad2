"""HTTP with limits on what uvicorn leaves open: time, size and number of what a connection may send.

Leans on the inner workings of uvicorn's httptools protocol, as of 0.54;
`tests/unit/app/server/test_uvicorn_surface.py` fails when they change.
"""

import asyncio
import json
from typing import Any, ClassVar

import httptools
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.problems import MEDIA_TYPE
from app.errors import HeadersTooLarge, Malformed, Problem, Unavailable
from app.middleware.security_headers import SECURITY_HEADERS
from app.server.connection_app import ConnectionApp
from app.server.send_clock import SendClock
from app.server.upgrade import without_upgrade

MAX_HEADER_BYTES = 32_768
FRAMING_SHARE = 16
"""A chunked body may spend one byte on framing for so many of its own: enough for chunks of 100 bytes."""
SLICE = 4096
"""What the parser is fed at once: a message that is complete in one segment is counted as any other."""
MAX_AHEAD = 8
"""Requests that a connection may send before the first of them is answered."""


class BoundedProtocol(HttpToolsProtocol):
    """Ends connections that send too slowly or too much; the limits are set by `build_protocol`."""

    header_seconds: ClassVar[float] = 10.0
    message_seconds: ClassVar[float] = 45.0
    max_connections: ClassVar[int] = 2048
    send_seconds: ClassVar[float] = 30.0

    def connection_made(self, transport: Any) -> None:
        """Start the clock: a connection that sends nothing is ended as well."""
        super().connection_made(transport)
        self._outside_body = 0
        self._in_message = False
        self._head_open = False
        self._running: RequestResponseCycle | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._send_clock = SendClock(self.loop, transport, self._abort, self.send_seconds)
        self._start_clock(self.header_seconds)
        if len(self.connections) > self.max_connections:
            self._refuse(Unavailable("too many connections at the same time", retry_after=1))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock and let the requests of a lost peer end without an answer."""
        self._stop_clock()
        self._send_clock.stop()
        self._drop_requests()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Watch a peer that does not read what it asked for."""
        super().pause_writing()
        self._send_clock.start()

    def resume_writing(self) -> None:
        """Let it be: it reads."""
        self._send_clock.stop()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Feed the parser and count the bytes that are no body. Nothing is logged: a peer may send what it likes."""
        self._unset_keepalive_if_required()
        for start in range(0, len(data), SLICE):
            self._feed(data[start : start + SLICE])

    def _feed(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._outside_body += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as fault:
            cause = fault.__context__
            self._refuse(cause if isinstance(cause, Problem) else Malformed("Invalid HTTP request received."))
        else:
            if self._outside_body > MAX_HEADER_BYTES:
                self._refuse(HeadersTooLarge(f"the request headers are larger than {MAX_HEADER_BYTES:,} bytes"))

    def on_message_begin(self) -> None:
        """Start the clock for the next request on the connection."""
        if len(self.pipeline) >= MAX_AHEAD:
            raise Malformed(f"at most {MAX_AHEAD} requests may be sent ahead")
        super().on_message_begin()
        self._in_message = self._head_open = True
        self._start_clock(self.header_seconds)

    def on_headers_complete(self) -> None:
        """Check the host; give the rest of the message its time."""
        self._head_open = False
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise Malformed("CONNECT is not served")
            return  # parsed again without the offer
        self._check_host()
        self._start_clock(self.message_seconds)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take the body off the count of what is none, and allow for its framing."""
        self._outside_body -= len(body) + len(body) // FRAMING_SHARE
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the clock: what comes next is counted anew."""
        if self.parser.should_upgrade():
            return
        self._in_message = False
        self._outside_body = 0
        self._stop_clock()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Give a message whose answer came first a little time to end: it holds the connection no longer."""
        super().on_response_complete()
        if self._in_message and not self._head_open and self.cycle.response_complete:
            self._start_clock(self.header_seconds)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self._refuse(Malformed(msg))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        served: ASGIApp = ConnectionApp(app, cycle)
        super()._start_asgi_task(cycle, served)  # type: ignore[arg-type]

    def _check_host(self) -> None:
        """Keep the one host that a request names. Raises Malformed: proxies and we must not read different ones."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            raise Malformed("a request names exactly one Host")
        target = httptools.parse_url(self.url)
        if target.host:  # the absolute form goes before the header (RFC 9112, 3.2.2)
            host = b"[%b]" % target.host if b":" in target.host else target.host
            authority = host + (b":%d" % target.port if target.port else b"")
            self.headers[:] = [item for item in self.headers if item[0] != b"host"] + [(b"host", authority)]

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parse the request again as the plain HTTP that it also is; the body follows in `rest` and later."""
        version = self.parser.get_http_version().encode()
        head = without_upgrade(self.parser.get_method(), self.url, version, self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._outside_body -= len(head) + len(rest)  # counted once
        self.data_received(head + rest)

    def _drop_requests(self) -> None:
        """Let no request of this connection write any more."""
        for cycle in (self._running, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()

    def _start_clock(self, seconds: float) -> None:
        self._stop_clock()
        self._clock = self.loop.call_later(seconds, self._end)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _end(self) -> None:
        self._clock = None
        if not self.transport.is_closing():
            self._drop_requests()
            self.transport.close()

    def _abort(self) -> None:
        self._drop_requests()
        self.transport.abort()

    def _refuse(self, problem: Problem) -> None:
        if self.transport.is_closing():
            return
        self._drop_requests()
        body = json.dumps(problem.body()).encode()
        headers = {"content-type": MEDIA_TYPE, "cache-control": "no-store", **SECURITY_HEADERS, **problem.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {problem.status} {problem.title}\r\n{lines}"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()


def build_protocol(
    *, header_seconds: float, body_seconds: float, send_seconds: float, connections: int
) -> type[BoundedProtocol]:
    """Return the protocol with its limits: times for headers, a body and an unread answer, how many may connect."""
    limits = {
        "header_seconds": header_seconds,
        "message_seconds": header_seconds + body_seconds,
        "send_seconds": send_seconds,
        "max_connections": connections,
    }
    return type("BoundedProtocol", (BoundedProtocol,), limits)
