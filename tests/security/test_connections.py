"""What a connection sends beside the bodies of its requests: bounded in bytes, number and time (S2)."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway

MB = 2**20
GROWTH = 30 * MB
HOST = b"Host: localhost\r\n"
GET = b"GET /livez HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def connect(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=60)


def pushed(line: socket.socket, piece: bytes, most: int) -> int:
    """Send a piece again and again until the other end has had enough; return how many bytes went out."""
    out = 0
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while out < most:
            line.sendall(piece)
            out += len(piece)
    return out


def answered(line: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := line.recv(65536):
            received += piece
    return received


def statuses(received: bytes) -> list[int]:
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


@pytest.fixture
def steady(gateway: Gateway) -> Iterator[Gateway]:
    """The gateway, which must not have grown and must not have logged a fault."""
    gateway.accepted()
    before, said = gateway.rss(), len(gateway.log.read_text())
    yield gateway
    gateway.accepted()
    assert gateway.rss() - before < GROWTH
    assert "Traceback" not in gateway.log.read_text()[said:]


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (GET + CHUNKED + b"0\r\n", b"x: " + b"y" * 8000 + b"\r\n"),
        (GET + CHUNKED + b"0\r\n", b"x" * 65536),
        (GET + CHUNKED + b"0\r\nx: ", b"y" * 65536),
        (GET + CHUNKED, b"1;" + b"e" * 8000 + b"\r\na\r\n"),
        (GET + CHUNKED + b"1;", b"e" * 65536),
        (GET + b"X: ", b"y" * 65536),
    ],
    ids=["trailers", "trailer name", "trailer value", "extensions", "one extension", "header"],
)
def test_what_is_no_body_ends_after_32_kb(steady: Gateway, start: bytes, piece: bytes) -> None:
    with connect(steady) as line:
        line.sendall(start)
        assert pushed(line, piece, 64 * MB) < 16 * MB


@pytest.mark.parametrize(
    "message",
    [
        GET + b"X: " + b"y" * 40_000 + b"\r\n\r\n",
        GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        GET + CHUNKED + b"0\r\nx: " + b"y" * 40_000 + b"\r\n\r\n",
        GET + CHUNKED + b"1;" + b"e" * 40_000 + b"\r\na\r\n0\r\n\r\n",
        b"GET /livez?" + b"q" * 40_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
    ids=["header", "upgrade", "trailer", "extension", "address"],
)
def test_a_message_in_one_segment_is_counted_too(steady: Gateway, message: bytes) -> None:
    with connect(steady) as line:
        line.sendall(message)
        assert 431 in statuses(answered(line))


def test_framing_of_an_honest_body_is_no_trailer(steady: Gateway) -> None:
    piece = b"64\r\n" + b"a" * 100 + b"\r\n"
    with connect(steady) as line:
        line.sendall(GET + b"Connection: close\r\n" + CHUNKED + piece * 20_000 + b"0\r\n\r\n")
        assert statuses(answered(line)) == [204]


def test_requests_sent_ahead_are_limited(steady: Gateway) -> None:
    request = b"GET /jobs HTTP/1.1\r\n" + HOST + b"\r\n"
    lines = [connect(steady) for _ in range(40)]
    for line in lines:
        pushed(line, request * 6000, 1)
    for line in lines:
        with line:
            assert 400 in statuses(answered(line))


def test_eight_requests_sent_ahead_are_served(steady: Gateway) -> None:
    with connect(steady) as line:
        line.sendall((GET + b"\r\n") * 8 + GET + b"Connection: close\r\n\r\n")
        assert statuses(answered(line)) == [204] * 9


def test_a_peer_that_leaves_its_requests_behind_is_no_fault(steady: Gateway) -> None:
    for _ in range(20):
        with connect(steady) as line:
            line.sendall((b"GET /jobs HTTP/1.1\r\n" + HOST + b"\r\n") * 8)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset at close


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, gateway_redis: RedisProcess) -> Iterator[Gateway]:
    environ = {
        "STYLIZE_GATEWAY_HEADER_SECONDS": "3",
        "STYLIZE_GATEWAY_FORM_SECONDS": "3",
        "STYLIZE_GATEWAY_CONNECTIONS": "20",
    }
    with Gateway(tmp_path_factory.mktemp("strict"), gateway_redis, environ) as running:
        yield running


def test_a_message_that_never_ends_is_cut_off_after_its_answer(strict: Gateway) -> None:
    with connect(strict) as line:
        line.sendall(GET + CHUNKED + b"5\r\nab")
        assert statuses(answered(line)) == [204]


def test_a_json_body_that_dribbles_in_is_408(strict: Gateway) -> None:
    head = b"POST /v1/images/generations HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    with connect(strict) as line:
        line.sendall(head + b"Content-Length: 9000\r\n\r\n{")
        assert statuses(answered(line)) == [408]


def test_connections_are_limited(strict: Gateway) -> None:
    lines = [connect(strict) for _ in range(40)]
    assert 503 in [status for line in lines for status in statuses(answered(line))]
    for line in lines:
        line.close()
    while not strict._alive():
        time.sleep(0.05)


@pytest.mark.parametrize("offer", [b"h2c", b"websocket", b"TLS/1.2, h2c"])
@pytest.mark.parametrize("segments", [1, 2, 40])
@pytest.mark.parametrize("lengths", ["length", "chunks"])
def test_an_offer_of_another_protocol_is_ignored(gateway: Gateway, offer: bytes, segments: int, lengths: str) -> None:
    body = b'{"prompt": 1, "nonsense": 2}'
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = b"POST /v1/images/generations HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    head += b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + offer + b"\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(body) + body
    data = head + (length if lengths == "length" else CHUNKED + framed)
    data += GET + b"Connection: close\r\n\r\n"
    with connect(gateway) as line:
        size = -(-len(data) // segments)
        for at in range(0, len(data), size):
            line.sendall(data[at : at + size])
            time.sleep(0.005)
        received = answered(line)
    assert statuses(received) == [422, 204]
    assert b"nonsense" in received


@pytest.mark.parametrize("offer", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"], ids=["plain", "with an offer"])
def test_a_stream_for_http_1_0_has_no_chunks_and_ends_with_the_connection(gateway: Gateway, offer: bytes) -> None:
    job = gateway.accepted()["id"]
    gateway.client.delete(f"/jobs/{job}")
    with connect(gateway) as line:
        line.sendall(b"GET /jobs/" + job.encode() + b"/events HTTP/1.0\r\n" + offer + b"\r\n")
        head, _, body = answered(line).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body.startswith(b"event:")


@pytest.mark.parametrize(
    "hosts", [b"", b"Host: localhost\r\nHost: localhost\r\n", b"Host: localhost\r\nHost: evil.example\r\n"]
)
def test_a_request_names_one_host(gateway: Gateway, hosts: bytes) -> None:
    with connect(gateway) as line:
        line.sendall(b"GET /livez HTTP/1.1\r\n" + hosts + b"\r\n")
        assert statuses(answered(line)) == [400]


def test_bad_requests_write_no_log(gateway: Gateway) -> None:
    said = gateway.log.read_text()
    for _ in range(20):
        with connect(gateway) as line:
            line.sendall(b"\x16\x03\x01hello\r\n\r\n")
            answered(line)
    assert gateway.log.read_text() == said
