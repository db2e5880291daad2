"""HTTP with a limit on what uvicorn leaves open: how long, and how large, the headers of a request may be."""

import asyncio
import json
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.errors import HeadersTooLarge, Malformed, Problem
from app.problems import MEDIA_TYPE

MAX_HEADER_BYTES = 32_768


class BoundedProtocol(HttpToolsProtocol):
    """Ends connections whose headers are too slow or too large; `header_seconds` is set by `bounded`."""

    header_seconds: ClassVar[float] = 10.0

    def connection_made(self, transport: Any) -> None:
        """Start the clock: a connection that sends nothing is ended as well."""
        super().connection_made(transport)
        self._header_bytes = 0
        self._in_headers = True
        self._clock: asyncio.TimerHandle | None = self.loop.call_later(self.header_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of headers that are not complete yet."""
        super().data_received(data)
        if not self._in_headers:
            return
        self._header_bytes += len(data)
        if self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self._refuse(HeadersTooLarge(f"the request headers are larger than {MAX_HEADER_BYTES:,} bytes"))

    def on_message_begin(self) -> None:
        """Start the clock for the next request on the connection."""
        super().on_message_begin()
        self._in_headers = True
        self._header_bytes = 0
        if self._clock is None:
            self._clock = self.loop.call_later(self.header_seconds, self._too_slow)

    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self._in_headers = False
        self._stop_clock()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self._refuse(Malformed(msg))

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _too_slow(self) -> None:
        self._clock = None
        if not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        body = json.dumps(problem.body()).encode()
        head = f"HTTP/1.1 {problem.status} {problem.title}\r\ncontent-type: {MEDIA_TYPE}\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()


def bounded(header_seconds: float) -> type[BoundedProtocol]:
    """Return the protocol with a time limit for headers."""
    return type("BoundedProtocol", (BoundedProtocol,), {"header_seconds": header_seconds})
