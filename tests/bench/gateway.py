"""Processor time of one process per 1 MB upload, three ways in one run.

bare      an ASGI application reads the body and answers: the yardstick
taken in  the gateway's form reader besides: counted, parsed, limits kept, the picture in bounded memory
accepted  the gateway whole: besides, decoded by a child, stored and flushed, recorded, rung, answered 202

Each is the median over the requests of what its process used while it was asked and for SETTLING_SECONDS after, the
kernel's time and all threads included, less what it uses in that time when nobody asks: the gateway looks for due
webhooks four times a second, and a slow decoder would otherwise be charged with that. The decoder's processes are not
the gateway's and are told apart. Wake-ups are taken out of the queue as an idle worker would. The exit status is 1
unless uploads are accepted within GOAL times the yardstick.
"""

import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter

from deploy.embedded.demo import free_port
from deploy.embedded.redis import RedisProcess
from deploy.embedded.stack import HEAP
from tests.support.tiny.store import build_tiny_store
from workers.contract.queue.celery import queue_name
from workers.contract.runtime.redis import connect

REQUESTS = 150
WARM_UP = 20
GOAL = 2.5
MODEL = "tiny-sd15"
IDLE_SECONDS = 3.0
PIECE = 65536
"""Bytes that curl, httpx2 and browsers hand to the socket at a time."""
BOUNDARY = "7d0c1f6e9b3a4852"
TICK = os.sysconf("SC_CLK_TCK")
MODULES = ("tests.bench._bare", "tests.bench._intake", "app")
SETTLING_SECONDS = 0.015
"""What a request leaves to do after its answer, the bell's ring above all, is done within this time."""


@dataclass
class Server:
    """One of the servers: its process, and a connection to it."""

    process: subprocess.Popen[bytes]
    connection: http.client.HTTPConnection
    idle: float = 0.0
    """Milliseconds of processor time a second while nobody asks."""

    def cost(self, body: bytes) -> float:
        """Post, and return the milliseconds of processor time that this took the server."""
        began, before = time.monotonic(), spent(self.process.pid)
        self.post(body)
        time.sleep(SETTLING_SECONDS)
        return spent(self.process.pid) - before - self.idle * (time.monotonic() - began)

    def post(self, body: bytes) -> None:
        self.connection.putrequest("POST", "/stylize")
        self.connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
        self.connection.putheader("Content-Length", str(len(body)))
        self.connection.endheaders()
        for start in range(0, len(body), PIECE):
            self.connection.send(body[start : start + PIECE])
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status == http.HTTPStatus.ACCEPTED, text


def spent(pid: int) -> float:
    """Milliseconds of processor time of a process, all threads, user and system: clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2) * 1e3


def spent_by_children(pid: int) -> float:
    """Milliseconds of processor time of a process's children and their ended children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    stats = (Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split() for child in children)
    return sum(sum(map(int, fields[11:15])) for fields in stats) / TICK * 1e3


def photograph(width: int, height: int) -> Image.Image:
    """A picture as hard to compress as a photograph: shapes, texture and a little noise."""

    def plane(sigma: float, radius: float) -> Image.Image:
        return Image.effect_noise((width, height), sigma).filter(ImageFilter.GaussianBlur(radius))

    planes = []
    for _ in range(3):
        coarse = Image.effect_noise((width // 64, height // 64), 120).resize((width, height), Image.Resampling.BICUBIC)
        planes.append(ImageChops.add(ImageChops.add(coarse, plane(90, 2), 1.5, -30), plane(14, 0.4), 1.3, -30))
    return Image.merge("RGB", planes)


def upload(picture: Image.Image, number: int, kind: str, **options: int) -> bytes:
    """The form of a request whose style picture no other request has."""
    picture.paste((number % 256, number // 256 % 256, 77), (0, 0, 16, 16))
    data = BytesIO()
    picture.save(data, kind, **options)
    fields = {"method": "signal-leak", "prompt": f"a house by a lake, number {number}", "seed": str(number)}
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts.append(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="style_image"; filename="style.{kind.lower()}"\r\n'
        f"Content-Type: image/{kind.lower()}\r\n\r\n"
    )
    return "".join(parts).encode() + data.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode()


def connected(port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(600):
        with suppress(ConnectionRefusedError):
            connection.connect()
            return connection
        time.sleep(0.05)
    raise TimeoutError("the server does not listen")


@contextmanager
def serving(module: str, data: Path, redis_url: str, more: Mapping[str, str] | None = None) -> Iterator[Server]:
    port = free_port()
    environ = HEAP | {
        "STYLIZE_REDIS_URL": redis_url,
        "STYLIZE_BLOB_URL": f"file:{data / 'blobs'}",
        "STYLIZE_MODELS": MODEL,
        "STYLIZE_MODEL_DIR": str(build_tiny_store()),
        "STYLIZE_MAX_QUEUED": "100000",
        "STYLIZE_GATEWAY_PORT": str(port),
        "STYLIZE_GATEWAY_HEADER_SECONDS": "60",
        "STYLIZE_GATEWAY_DECODE_SECONDS": "60",
        **(more or {}),
    }
    process = subprocess.Popen([sys.executable, "-m", module], env={**os.environ, **environ}, stderr=subprocess.DEVNULL)
    try:
        connection = connected(port)
        yield Server(process, connection)
        connection.close()
    finally:
        process.terminate()
        process.wait()


@dataclass
class Case:
    """Uploads of one kind."""

    name: str
    picture: Image.Image
    kind: str
    options: dict[str, int] = field(default_factory=dict)
    fresh: bool = True

    def body(self, number: int) -> bytes:
        return upload(self.picture, number if self.fresh else 0, self.kind, **self.options)


def rest(servers: list[Server]) -> None:
    """Note what the servers use while nobody asks."""
    before = [spent(server.process.pid) for server in servers]
    time.sleep(IDLE_SECONDS)
    for server, then in zip(servers, before, strict=True):
        server.idle = (spent(server.process.pid) - then) / IDLE_SECONDS


def measure(case: Case) -> tuple[float, float]:
    """Post to all servers in turn, so that each finds the processor's caches in the same state.

    Returns how many times the yardstick it takes to take an upload in, and to accept it.
    """
    costs: list[list[float]] = []
    with tempfile.TemporaryDirectory(prefix="stylize-bench-") as folder, ExitStack() as running:
        data = Path(folder)
        redis = running.enter_context(RedisProcess(data / "redis"))
        wake_ups = running.enter_context(connect(redis.url))
        for name in range(256):  # the folders of a store in use
            (data / "blobs" / "inputs" / f"{name:02x}").mkdir(parents=True)
        servers = [running.enter_context(serving(module, data, redis.url)) for module in MODULES]
        gateway = servers[-1].process.pid
        for number in range(WARM_UP + REQUESTS):
            if number == WARM_UP:
                rest(servers)
                decoding = -spent_by_children(gateway)
            body = case.body(number)
            costs.append([server.cost(body) for server in servers])
            wake_ups.delete(queue_name(MODEL, "interactive"))
        decoding += spent_by_children(gateway)
    bare, taken_in, accepted = (statistics.median(column) for column in zip(*costs[WARM_UP:], strict=True))
    print(
        f"{case.name} ({len(body) / 1e6:.2f} MB): bare {bare:.2f} ms, "
        f"taken in {taken_in:.2f} ms: {taken_in / bare:.2f}x, accepted {accepted:.2f} ms: {accepted / bare:.2f}x"
        f"   (the decoder: {decoding / REQUESTS:.0f} ms more; the gateway idle: {servers[-1].idle:.1f} ms a second)",
        flush=True,
    )
    return taken_in / bare, accepted / bare


def main() -> int:
    photo, painting = photograph(1600, 1200), photograph(832, 608)
    cases = (
        Case("JPEG, each new", photo, "JPEG", {"quality": 95}),
        Case("PNG, each new", painting, "PNG"),
        Case("JPEG, the same again", photo, "JPEG", {"quality": 95}, fresh=False),
    )
    taken_in, accepted = zip(*map(measure, cases), strict=True)
    print(f"goal: <= {GOAL}x; taken in at most {max(taken_in):.2f}x, accepted at most {max(accepted):.2f}x")
    return 0 if max(accepted) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
