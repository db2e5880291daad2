"""A small hub on loopback that speaks what huggingface_hub asks for, and fails as told."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Answer:
    """How one GET of a file is answered; `cut_at` counts the bytes sent before the connection breaks."""

    cut_at: int | None = None
    status: int | None = None
    error_code: str | None = None
    damage: bool = False
    ignore_range: bool = False
    block: int = 1 << 16
    pause_seconds: float = 0.0


def _as_asked(path: str, start: int) -> Answer:
    return Answer()


@dataclass
class HubState:
    """What the server holds and did. `answer` decides for each GET, given path and first byte asked for."""

    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    small: set[str] = field(default_factory=set)
    """Paths kept in git itself: their digest is the git blob's."""
    no_digest: bool = False
    head_status: tuple[int, str | None] | None = None
    heads_refused: int = 0
    """How many more questions about a file are answered with 503."""
    stated_size: int | None = None
    moved_to: str | None = None
    """Address of the server that has the bytes, as the hub keeps large files elsewhere."""
    answer: Callable[[str, int], Answer] = _as_asked
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    """(method, path, first byte) of each request for a file."""
    tokens: set[str | None] = field(default_factory=set)
    url: str = ""

    def digest(self, path: str, content: bytes) -> str:
        """Return the entity tag the real hub would state."""
        if self.no_digest:
            return "opaque"
        if path in self.small:
            return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
        return hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """One request; the state hangs on the server."""

    protocol_version = "HTTP/1.1"
    timeout = 180

    @property
    def state(self) -> HubState:
        return self.server.state  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._file("HEAD")

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/"):
            self._api()
        elif "/resolve/" not in self.path:  # the library may look for other things of a hub
            self._fail(404, None)
        else:
            self._file("GET")

    def _fail(self, status: int, code: str | None) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _api(self) -> None:
        parts = urlsplit(self.path).path.split("/")
        repository = "/".join(parts[3:5])
        names = sorted(path for repo, path in self.state.files if repo == repository)
        listed = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names]
        siblings = {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
        body = json.dumps(listed if "tree" in parts else siblings).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, method: str) -> None:
        repository, _, rest = unquote(urlsplit(self.path).path).lstrip("/").partition("/resolve/")
        path = rest.partition("/")[2]
        wanted = self.headers.get("Range", "")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.state.asked.append((method, path, start))
        self.state.tokens.add(self.headers.get("Authorization"))
        content = self.state.files.get((repository, path))
        if method == "HEAD" and self.state.heads_refused > 0:
            self.state.heads_refused -= 1
            self._fail(503, None)
        elif method == "HEAD" and self.state.head_status is not None:
            self._fail(*self.state.head_status)
        elif content is None:
            self._fail(404, "EntryNotFound")
        elif self.state.moved_to is not None:
            self._moved(path, content)
        elif method == "HEAD":
            self._head(path, content)
        else:
            self._body(path, content, start)

    def _moved(self, path: str, content: bytes) -> None:
        self.send_response(302)
        self.send_header("Location", f"{self.state.moved_to}{self.path}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Etag", f'"{self.state.digest(path, content)}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _head(self, path: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{self.state.digest(path, content)}"')
        self.send_header("Content-Length", str(self.state.stated_size or len(content)))
        self.end_headers()

    def _body(self, path: str, content: bytes, start: int) -> None:
        answer = self.state.answer(path, start)
        if answer.status is not None:
            self._fail(answer.status, answer.error_code)
            return
        if answer.ignore_range:
            start = 0
        if answer.damage:
            content = bytes([content[0] ^ 1]) + content[1:]
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body if answer.cut_at is None else body[: answer.cut_at]
        for at in range(0, len(sent), answer.block):
            self.wfile.write(sent[at : at + answer.block])
            if answer.pause_seconds:
                self.wfile.flush()
                time.sleep(answer.pause_seconds)
        if len(sent) < len(body):
            self.close_connection = True


class Server(ThreadingHTTPServer):
    """The server; a client that goes away is no error."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = HubState(url=f"http://127.0.0.1:{self.server_port}")
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
