"""Processor time of the gateway process per accepted 1 MB upload, over that of a bare ASGI body read, in one run."""

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter

from deploy.demo import free_port
from deploy.redis_child import RedisChild

REQUESTS = 150
WARM_UP = 20
GOAL = 2.5
PIECE = 65536
"""Bytes that curl, httpx and browsers hand to the socket at a time."""
BOUNDARY = "7d0c1f6e9b3a4852"
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """One of the two servers: its process, and a connection to it."""

    process: subprocess.Popen[bytes]
    connection: http.client.HTTPConnection

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


def spent(pid: int, first: int = 13, last: int = 15) -> float:
    """Seconds of processor time of a process, all threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[first - 2 : last - 2])) / TICK


def spent_by_children(pid: int) -> float:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(spent(int(child), 13, 17) for child in children)


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
def serving(module: str, data: Path, redis_url: str) -> Iterator[Server]:
    port = free_port()
    environ = {
        "STYLIZE_REDIS_URL": redis_url,
        "STYLIZE_BLOB_URL": f"file:{data / 'blobs'}",
        "STYLIZE_MODELS": "tiny-sd15",
        "STYLIZE_MAX_QUEUED": "100000",
        "STYLIZE_GATEWAY_PORT": str(port),
        "STYLIZE_GATEWAY_HEADER_SECONDS": "60",
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


def measure(case: Case) -> float:
    """Post to both servers in turn, so that each finds the processor's caches in the same state."""
    with tempfile.TemporaryDirectory(prefix="stylize-bench-") as folder, RedisChild(Path(folder) / "redis") as redis:
        data = Path(folder)
        with serving("app", data, redis.url) as gateway, serving("tests.bench._bare", data, redis.url) as bare:
            pids = [gateway.process.pid, bare.process.pid]
            for number in range(WARM_UP + REQUESTS):
                if number == WARM_UP:
                    before = [*map(spent, pids), spent_by_children(pids[0])]
                body = case.body(number)
                gateway.post(body)
                bare.post(body)
            time.sleep(0.2)
            after = [*map(spent, pids), spent_by_children(pids[0])]
    ours, floor, decoder = ((now - then) / REQUESTS * 1e3 for now, then in zip(after, before, strict=True))
    print(
        f"{case.name} ({len(body) / 1e6:.2f} MB): gateway {ours:.2f} ms, bare {floor:.2f} ms: {ours / floor:.2f}x"
        f"   (decoder's processes: {decoder:.0f} ms more)",
        flush=True,
    )
    return ours / floor


def main() -> int:
    photo, painting = photograph(1600, 1200), photograph(832, 608)
    cases = (
        Case("JPEG, each new", photo, "JPEG", {"quality": 95}),
        Case("PNG, each new", painting, "PNG"),
        Case("JPEG, the same again", photo, "JPEG", {"quality": 95}, fresh=False),
    )
    ratios = [measure(case) for case in cases]
    print(f"goal: <= {GOAL}x")
    return 0 if max(ratios) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
