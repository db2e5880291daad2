"""Servers on this machine: one that must never be reached, and one that takes webhooks."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self

from tests.support.service import until


class Trap:
    """Listens on every address of this machine, IPv4 and IPv6; keeps the addresses that somebody connected to."""

    def __init__(self, *, silent: bool = False) -> None:
        """`silent` keeps the connections open and says nothing."""
        self._held: list[socket.socket] = []
        self._silent = silent
        self.caught: list[str] = []
        self._listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
        self._listener.settimeout(0.05)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def await_caught(self, count: int) -> None:
        until(lambda: len(self.caught) >= count, f"{count} are caught")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        for held in (self._listener, *self._held):
            held.close()

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.caught.append(connection.getsockname()[0])
            if self._silent:
                self._held.append(connection)
            else:
                connection.close()


class Receiver(BaseHTTPRequestHandler):
    """Answers with the statuses of a list, one after another, the last for ever; keeps what it got."""

    statuses: ClassVar[list[int]]
    got: ClassVar[list[tuple[dict[str, str], bytes]]]
    headers_sent: ClassVar[dict[str, str]]
    body: ClassVar[bytes]

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.got.append(({name.lower(): value for name, value in self.headers.items()}, self.rfile.read(size)))
        self.send_response(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def receiver(
    statuses: Sequence[int] = (204,),
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    tls: ssl.SSLContext | None = None,
) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """Yield the origin of a server that takes webhooks, and the list of what it gets."""
    got: list[tuple[dict[str, str], bytes]] = []
    facts = {"statuses": list(statuses), "got": got, "headers_sent": headers or {}, "body": body}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Receiver,), facts))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def told(got: list[tuple[dict[str, str], bytes]]) -> list[dict[str, Any]]:
    """Return the bodies."""
    return [json.loads(body) for _, body in got]
