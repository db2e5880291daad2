"""`python -m tests.bench.memory`: how much memory an attack takes of a gateway, and how long others wait meanwhile.

Three attacks, each on a gateway of its own on this machine: a connection that sends trailers without end, connections
that send thousands of requests ahead, and connections that ask for a large picture and never read it.
"""

import contextlib
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
from PIL import Image

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import encoded

MB = 1_000_000
CONNECTIONS = 150
TRAILER_BYTES = 200 * MB
AHEAD_BYTES = 250_000
SIDE = 2048
SEND_SECONDS = 30.0
"""No attack sends for longer."""
WATCHED_SECONDS = 10.0
"""What the gateway does after the last byte was sent counts too."""
GOAL_GROWTH = 100 * MB
GOAL_ANSWER = 5.0
"""A pod whose /livez takes longer is restarted (deploy/kubernetes)."""
HOST = b"Host: localhost\r\n"


@dataclass(slots=True)
class Watch:
    """The most memory that a gateway had, and the longest that it took to answer /livez."""

    gateway: Gateway
    before: int = 0
    peak: int = 0
    slowest: float = 0.0
    unanswered: int = 0

    def look(self, over: threading.Event) -> None:
        while not over.wait(0.02):
            self.peak = max(self.peak, self.gateway.rss())

    def ask(self, over: threading.Event) -> None:
        with httpx2.Client(base_url=str(self.gateway.client.base_url), timeout=60) as client:
            while not over.wait(0.05):
                began = time.perf_counter()
                try:
                    client.get("/livez").raise_for_status()
                except httpx2.HTTPError:
                    self.unanswered += 1
                self.slowest = max(self.slowest, time.perf_counter() - began)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        self.before = self.peak = self.gateway.rss()
        over = threading.Event()
        threads = [threading.Thread(target=watch, args=(over,)) for watch in (self.look, self.ask)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()


def opened(gateway: Gateway) -> socket.socket:
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.settimeout(5)
    line.connect(("127.0.0.1", gateway.port))
    return line


def sent(line: socket.socket, piece: bytes, times: int = 1) -> int:
    """Send a piece again and again until the gateway has had enough; return how many bytes it was given."""
    out, until = 0, time.monotonic() + SEND_SECONDS
    with contextlib.suppress(OSError):
        for _ in range(times):
            if time.monotonic() > until:
                break
            line.sendall(piece)
            out += len(piece)
    return out


def trailers(gateway: Gateway, lines: list[socket.socket]) -> int:
    lines.append(opened(gateway))
    sent(lines[0], b"GET /livez HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
    piece = (b"x: " + b"y" * 995 + b"\r\n") * 100
    return sent(lines[0], piece, TRAILER_BYTES // len(piece))


def pipelining(gateway: Gateway, lines: list[socket.socket]) -> int:
    request = b"GET /jobs HTTP/1.1\r\n" + HOST + b"\r\n"
    lines.extend(opened(gateway) for _ in range(CONNECTIONS))
    until = time.monotonic() + SEND_SECONDS
    return sum(sent(line, request * (AHEAD_BYTES // len(request))) for line in lines if time.monotonic() < until)


def slow_readers(gateway: Gateway, lines: list[socket.socket]) -> int:
    noise = Image.merge("RGB", [Image.effect_noise((SIDE, SIDE), 100) for _ in range(3)])
    job = gateway.accepted(None, [("style_image", ("a.jpg", encoded(noise, "JPEG"), "image/jpeg"))])
    record = gateway.store.get(job["id"])
    assert record is not None
    path = f"/inputs/{record.request.style_images[0]}".encode()
    print(f"    the picture has {len(gateway.client.get(path.decode()).content) / MB:.1f} MB", flush=True)
    lines.extend(opened(gateway) for _ in range(CONNECTIONS))
    return sum(sent(line, b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n") for line in lines)


def attacked(attack: Callable[[Gateway, list[socket.socket]], int]) -> bool:
    """Attack a new gateway, print what it took, return whether that is within the goals."""
    lines: list[socket.socket] = []
    with tempfile.TemporaryDirectory(prefix="stylize-bench-") as folder, RedisProcess(Path(folder) / "redis") as redis:
        gateway = Gateway(Path(folder), redis)
        try:
            with gateway:
                gateway.accepted()
                watch = Watch(gateway)
                with watch.watching():
                    out = attack(gateway, lines)
                    time.sleep(WATCHED_SECONDS)
                print(
                    f"{attack.__name__}: sent {out / MB:.3f} MB, "
                    f"RSS {watch.before / MB:.1f} -> {watch.peak / MB:.1f} MB, "
                    f"/livez at most {watch.slowest:.2f} s, {watch.unanswered} unanswered",
                    flush=True,
                )
                for line in lines:
                    line.close()
        finally:
            if gateway.process is not None and gateway.process.poll() is None:
                os.kill(gateway.pid, 9)
                gateway.process.wait()
    return watch.peak - watch.before <= GOAL_GROWTH and watch.slowest <= GOAL_ANSWER and not watch.unanswered


def main() -> int:
    good = [attacked(attack) for attack in (trailers, pipelining, slow_readers)]
    print(f"goal: growth <= {GOAL_GROWTH / MB:.0f} MB, /livez <= {GOAL_ANSWER:.0f} s")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
