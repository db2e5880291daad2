"""Bodies whose length is not what the headers say: never a 5xx, never taken for more than was sent (S2)."""

import socket

import pytest

from tests.support.gateway import Gateway
from tests.support.pictures import FORM, encoded, multipart, picture
from tests.support.service import PATIENCE

BODY = multipart(FORM, {"style_image": encoded(picture())})
KIND = b"Host: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\nConnection: close\r\n"


def sent(gateway: Gateway, lengths: bytes, body: bytes, *, hang_up: bool = False) -> list[int]:
    """Send a request with these length headers, then perhaps hang up; return the status of each answer."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as line:
        line.sendall(b"POST /stylize HTTP/1.1\r\n" + KIND + lengths + b"\r\n" + body)
        if hang_up:
            line.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while piece := line.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: %d\r\n" % (len(BODY) - 20),
        b"Content-Length: 0\r\n",
        b"",
        b"Content-Length: -1\r\n",
        b"Content-Length: +%d\r\n" % len(BODY),
        b"Content-Length: many\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length: %d\r\nContent-Length: %d\r\n" % (len(BODY), len(BODY) - 1),
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(BODY),
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
    ],
)
def test_a_wrong_length_is_4xx(gateway: Gateway, lengths: bytes) -> None:
    answers = sent(gateway, lengths, BODY)
    assert answers, "an answer says what is wrong"
    assert all(400 <= status < 500 for status in answers), answers
    gateway.accepted()


@pytest.mark.parametrize(
    ("lengths", "body"),
    [
        (b"Content-Length: %d\r\n" % (len(BODY) + 20), BODY),
        (b"Content-Length: %d\r\n" % len(BODY), BODY[:200]),
        (b"Transfer-Encoding: chunked\r\n", b"%x\r\n" % (len(BODY) + 20) + BODY),
    ],
)
def test_a_body_that_ends_early_makes_no_job(gateway: Gateway, lengths: bytes, body: bytes) -> None:
    before = gateway.client.get("/jobs", params={"limit": 100}).json()["jobs"]
    assert all(400 <= status < 500 for status in sent(gateway, lengths, body, hang_up=True))
    assert gateway.client.get("/jobs", params={"limit": 100}).json()["jobs"] == before


def test_the_same_body_in_full_is_taken(gateway: Gateway) -> None:
    assert sent(gateway, b"Content-Length: %d\r\n" % len(BODY), BODY) == [202]
    assert sent(gateway, b"Transfer-Encoding: chunked\r\n", chunked(BODY)) == [202]
