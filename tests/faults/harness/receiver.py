"""Somebody who wants to be called when jobs end; now and then he answers badly, to be called again."""

import json
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.support.service import PATIENCE

REFUSED = 10
"""Every so manieth call is answered 500."""


@dataclass(frozen=True)
class Call:
    """One webhook as it came: its event id and the job and state that its body names."""

    event: str
    job: str
    state: str


class Receiver:
    """A server on the loopback address; `calls` is what came, `environ` what the gateway needs to call it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.calls.append(Call(self.headers["webhook-id"], body["data"]["id"], body["data"]["state"]))
                self.send_response(500 if len(receiver.calls) % REFUSED == 0 else 204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.environ = {
            "STYLIZE_GATEWAY_WEBHOOK_ALLOW": self.url,
            "STYLIZE_GATEWAY_WEBHOOK_PAUSE_SECONDS": "0.2",
        }
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def await_calls(self, jobs: Collection[str]) -> None:
        """Wait until every job was called for, or patience ends; the checker tells which were not."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not {call.job for call in list(self.calls)} >= set(jobs):
            time.sleep(0.1)
