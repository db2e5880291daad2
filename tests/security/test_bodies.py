"""Bodies made to hurt: refused early, with memory bounded, and the gateway serves on (S2)."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.support.gateway import Gateway
from tests.support.pictures import FORM, encoded, multipart, picture

GROWTH = 50 * 2**20
KIND = {"Content-Type": "multipart/form-data; boundary=x"}
FILE = b'--x\r\nContent-Disposition: form-data; name="style_image"; filename="a"\r\n\r\n'


def posted(gateway: Gateway, content: bytes | Iterator[bytes], **headers: str) -> httpx2.Response | None:
    """The answer; None when the gateway hung up before all was sent and the answer was lost with it."""
    try:
        return gateway.client.post("/stylize", content=content, headers=KIND | headers)
    except (httpx2.WriteError, httpx2.ReadError, httpx2.RemoteProtocolError):
        return None


@pytest.fixture(autouse=True)
def _serves_on_without_having_grown(gateway: Gateway) -> Iterator[None]:
    gateway.accepted()
    before = gateway.rss()
    yield
    gateway.accepted()
    assert gateway.rss() - before < GROWTH


def test_a_gigabyte_that_says_so_is_refused_before_it_is_read(gateway: Gateway) -> None:
    def body() -> Iterator[bytes]:
        yield FILE
        for _ in range(1000):
            yield bytes(2**20)

    answer = posted(gateway, body(), **{"Content-Length": str(1000 * 2**20 + len(FILE))})
    assert answer is None or (answer.status_code == 413 and "125,000,000 bytes" in answer.json()["detail"])


@pytest.mark.parametrize(
    "piece", [FILE, multipart({"prompt": "a"}, {})[:-8], b"\r\n", multipart(FORM, {"style_image": encoded(picture())})]
)
def test_a_gigabyte_in_chunks_is_cut_off(gateway: Gateway, piece: bytes) -> None:
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        yield piece
        for _ in range(1000):
            sent += 1
            yield b"a" * 2**20

    answer = posted(gateway, body())
    assert answer is None or answer.status_code in (400, 413)
    assert sent < 200


def test_ten_thousand_parts_are_refused(gateway: Gateway) -> None:
    empty = b'--x\r\nContent-Disposition: form-data; name="style_image"; filename=""\r\n\r\n\r\n'
    answer = posted(gateway, empty * 10_000 + b"--x--\r\n")
    assert answer is None or answer.status_code == 413
    answer = posted(gateway, b'--x\r\nContent-Disposition: form-data; name="a%d"\r\n\r\n\r\n' * 10_000 + b"--x--\r\n")
    assert answer is None or answer.status_code == 422


def test_a_file_over_20_mb_is_refused(gateway: Gateway) -> None:
    answer = posted(gateway, FILE + bytes(20_000_001) + b"\r\n--x--\r\n")
    assert answer is None or (answer.status_code == 413 and answer.json()["errors"][0]["pointer"] == "#/style_image/0")


def test_many_large_uploads_at_the_same_time_are_bounded(gateway: Gateway) -> None:
    for _ in range(5):
        answer = posted(gateway, (FILE + bytes(19_000_000) + b"\r\n") * 4 + b"--x--\r\n")
        assert answer is not None
        assert answer.status_code == 422


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"\x1f\x8b\x08\x00" + bytes(100), {"Content-Encoding": "gzip"}),
        (multipart(FORM, {})[:50], {}),
        (b"--x--\r\n", {}),
        (b"--y\r\n\r\n", {}),
        (b'--x\r\nContent-Disposition: form-data; name="' + b"a" * 10_000 + b'"\r\n\r\n--x--', {}),
        (FILE + b"\r\n--x" * 5_000, {}),
    ],
)
def test_malformed_bodies_are_4xx(gateway: Gateway, content: bytes, headers: dict[str, str]) -> None:
    answer = posted(gateway, content, **headers)
    assert answer is not None
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
