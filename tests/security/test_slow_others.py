"""Callers that do not read, stores that do not answer, owners that take all: the others are served (B4, B5, C2)."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from select import select

import pytest
from PIL import Image

from app.auth.api_key import create_api_key
from app.auth.key_store import KeyStore
from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import encoded
from tests.support.service import PATIENCE, until
from tests.unit.app.webhooks.trap import Trap
from workers.contract.runtime.redis import connect

MB = 2**20
HOST = b"Host: localhost\r\n"


@pytest.fixture(scope="module")
def sending(tmp_path_factory: pytest.TempPathFactory, gateway_redis: RedisProcess) -> Iterator[Gateway]:
    environ = {"STYLIZE_GATEWAY_SEND_SECONDS": "5", "STYLIZE_GATEWAY_SEND_BYTES": str(64 * MB)}
    with Gateway(tmp_path_factory.mktemp("sending"), gateway_redis, environ) as running:
        yield running


@pytest.fixture(scope="module")
def large(sending: Gateway) -> str:
    return store_large(sending)


def store_large(gateway: Gateway) -> str:
    """Store a picture of many megabytes; return its address."""
    noise = Image.merge("RGB", [Image.effect_noise((2000, 2000), 100) for _ in range(3)])
    files = [("style_image", ("a.jpg", encoded(noise, "JPEG"), "image/jpeg"))]
    job = gateway.accepted(None, files)
    (sha256,) = gateway.store.get(job["id"]).request.style_images  # type: ignore[union-attr]
    return f"/inputs/{sha256}"


def ask(gateway: Gateway, path: str) -> socket.socket:
    """Ask for a picture and read nothing of it."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.settimeout(PATIENCE)
    line.connect(("127.0.0.1", gateway.port))
    line.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    return line


def test_callers_that_do_not_read_take_little_memory_and_are_cut_off(sending: Gateway, large: str) -> None:
    size = len(sending.client.get(large).content)
    assert size > 8 * MB
    before = sending.rss()
    lines = [ask(sending, large) for _ in range(100)]
    time.sleep(0.5)
    assert sending.rss() - before < 60 * MB
    assert sending.client.get(large).status_code in (200, 429)
    for line in lines:
        with line:
            while True:
                try:
                    if not line.recv(65536):
                        break
                except ConnectionResetError:
                    break
    assert len(sending.client.get(large).content) == size
    assert "Traceback" not in sending.log.read_text()


def test_one_caller_gets_a_quarter(tmp_path: Path, gateway_redis: RedisProcess) -> None:
    with Gateway(tmp_path, gateway_redis, {"STYLIZE_GATEWAY_SEND_BYTES": "4000000"}) as gateway:
        path = store_large(gateway)
        lines = [ask(gateway, path) for _ in range(8)]
        statuses = sorted(line.recv(12)[9:12] for line in lines)
        for line in lines:
            line.close()
    assert statuses == [b"200"] * 3 + [b"429"] * 5


def test_a_stalled_blob_store_stalls_nothing_else(
    tmp_path: Path, gateway_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with Trap(silent=True) as silent:
        environ = {
            "STYLIZE_BLOB_URL": "s3://pictures",
            "STYLIZE_S3_ENDPOINT_URL": f"http://127.0.0.1:{silent.port}",
            "STYLIZE_GATEWAY_BLOB_SECONDS": "2",
        }
        with Gateway(tmp_path, gateway_redis, environ) as gateway:
            asked = [ask(gateway, "/readyz") for _ in range(40)]
            for path in ("/jobs", "/metrics", "/methods", "/styles"):
                assert gateway.client.get(path).status_code == 200
            assert all(line.recv(12)[9:12] == b"503" for line in asked)
            for line in asked:
                line.close()


def test_one_owner_cannot_take_all_upload_slots(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis") as redis:
        keys = [create_api_key(name) for name in ("ann", "bob")]
        with connect(redis.url) as client:
            for key, _ in keys:
                KeyStore(client).put(key)
        with Gateway(tmp_path, redis, {"STYLIZE_GATEWAY_UPLOADS": "8"}) as gateway:
            ann, bob = (str(token) for _, token in keys)
            lines = []
            for _ in range(8):
                line = socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE)
                line.sendall(
                    b"POST /stylize HTTP/1.1\r\n"
                    + HOST
                    + b"Authorization: Bearer "
                    + ann.encode()
                    + b"\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000\r\n\r\n--x"
                )
                lines.append(line)
            until(lambda: len(select(lines, (), (), 0)[0]) == 6, "all but its share, two of eight, are refused")
            assert gateway.post(Authorization=f"Bearer {ann}").status_code == 503
            gateway.accepted(Authorization=f"Bearer {bob}")
            for line in lines:
                line.close()
