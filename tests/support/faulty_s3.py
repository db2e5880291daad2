"""A real S3 server behind a relay that refuses what a test names."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "server", "date"}


class Rule(NamedTuple):
    """Requests of these methods whose path and query contain `part` get this status, code and message.

    With a `header` only those that have it.
    """

    methods: tuple[str, ...]
    part: str
    status: int = 403
    code: str = "AccessDenied"
    message: str = "the policy says no"
    header: str = ""

    def applies(self, method: str, path: str, headers: Message) -> bool:
        return method in self.methods and self.part in path and (not self.header or self.header in headers)


@dataclass
class FaultyS3:
    """The relay; `rules` may change at any time."""

    url: str = ""
    rules: list[Rule] = field(default_factory=list)

    def rule(self, method: str, path: str, headers: Message) -> Rule | None:
        return next((rule for rule in self.rules if rule.applies(method, path, headers)), None)

    @contextmanager
    def refusing(self, *rules: Rule) -> Iterator[None]:
        """Refuse these requests while the block runs."""
        self.rules = [*rules]
        try:
            yield
        finally:
            self.rules = []


@contextmanager
def faulty_s3(target: str) -> Iterator[FaultyS3]:
    """Relay to an S3 server until the block ends."""
    relay, address = FaultyS3(), urlsplit(target).netloc

    class Relay(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if rule := relay.rule(self.command, self.path, self.headers):
                document = f"<Error><Code>{rule.code}</Code><Message>{rule.message}</Message></Error>".encode()
                return self._send(rule.status, {"Content-Type": "application/xml"}, document)
            onward = HTTPConnection(address, timeout=180)
            onward.request(self.command, self.path, body, dict(self.headers))
            answer = onward.getresponse()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
            self._send(answer.status, headers, answer.read())
            onward.close()

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):
                return self._answer
            raise AttributeError(name)

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Relay) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        relay.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield relay
        finally:
            server.shutdown()
