"""What uvicorn leaves open: slow and endless headers (S2)."""

import json
import socket
import time
from collections.abc import Iterator

import pytest

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.service import PATIENCE


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, gateway_redis: RedisProcess) -> Iterator[Gateway]:
    environ = {"STYLIZE_GATEWAY_HEADER_SECONDS": "3", "STYLIZE_GATEWAY_FORM_SECONDS": "3"}
    with Gateway(tmp_path_factory.mktemp("strict"), gateway_redis, environ) as running:
        yield running


def connect(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE)


def answered(line: socket.socket) -> bytes:
    received = b""
    while piece := line.recv(65536):
        received += piece
    return received


def dribble(line: socket.socket, data: bytes, pause: float = 0.1) -> bytes:
    """Send a byte at a time until the other end has had enough, which must be before the last; return what it said."""
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for at in range(len(data)):
            line.sendall(data[at : at + 1])
            time.sleep(pause)
    try:
        return answered(line)
    except ConnectionResetError:
        return b""


def test_a_silent_connection_is_closed(strict: Gateway) -> None:
    with connect(strict) as line:
        assert answered(line) == b""


def test_headers_that_dribble_in_are_cut_off(strict: Gateway) -> None:
    with connect(strict) as line:
        dribble(line, b"GET /livez HTTP/1.1\r\nX: " + b"a" * 600)


def test_a_body_that_dribbles_in_is_408(strict: Gateway) -> None:
    kind = b"Content-Type: multipart/form-data; boundary=x\r\n"
    head = b"POST /stylize HTTP/1.1\r\nHost: localhost\r\n" + kind + b"Content-Length: 9000\r\n\r\n"
    with connect(strict) as line:
        line.sendall(head)
        answer = dribble(line, b"--x\r\n" + b"a" * 600)
    assert b" 408 " in answer.partition(b"\r\n")[0]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"] == "the body did not arrive within 3 seconds"


def test_endless_headers_are_431(strict: Gateway) -> None:
    with connect(strict) as line:
        line.sendall(b"GET /livez HTTP/1.1\r\nX: " + b"a" * 40_000)
        answer = answered(line)
    assert b" 431 " in answer.partition(b"\r\n")[0]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "urn:stylize:problem:headers-too-large"


def test_what_is_not_http_is_400(strict: Gateway) -> None:
    with connect(strict) as line:
        line.sendall(b"\x16\x03\x01hello\r\n\r\n")
        answer = answered(line)
    assert b" 400 " in answer.partition(b"\r\n")[0]
    assert b"application/problem+json" in answer


def test_a_connection_kept_alive_serves_many_requests(strict: Gateway) -> None:
    with connect(strict) as line:
        for _ in range(3):
            line.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert line.recv(1000).startswith(b"HTTP/1.1 204")
            time.sleep(1.6)


def test_slow_callers_do_not_keep_others_waiting(strict: Gateway) -> None:
    lines = [connect(strict) for _ in range(50)]
    for line in lines:
        line.sendall(
            b"POST /stylize HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-"
        )
    strict.accepted()
    for line in lines:
        line.close()
