"""A pass over the running service from outside, as a scanner makes it: headers, methods, odd paths, error pages."""

import re
import socket

import httpx2
import pytest

from tests.support.gateway import Gateway

METHODS = ("TRACE", "TRACK", "PROPFIND", "PUT", "PATCH", "OPTIONS", "DEBUG")
TRICKS = (
    *("/../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/studio/../app/main.py"),
    *(
        "/studio/..%2fpage.py",
        "/static-offline-docs/..%2f..%2fcore.py",
        "/jobs/%00",
        "/jobs/..%2f..",
        "/.env",
        "/.git/config",
    ),
    *("/jobs/x%0d%0aSet-Cookie:a=b", "/\\..\\..\\windows\\win.ini", "/docs/../.env", "/%ff%fe", "/jobs/" + "a" * 5000),
)
LEAKS = re.compile(r"Traceback|site-packages|\.py\b.*line \d+|uvicorn|starlette|pydantic_core|root:x:0", re.IGNORECASE)


def routes(gateway: Gateway) -> list[tuple[str, str]]:
    paths = gateway.client.get("/openapi.json").json()["paths"]
    return [
        (verb, re.sub(r"\{[^}]*\}", "0", path))
        for path, verbs in paths.items()
        for verb in verbs
        if verb != "parameters"
    ]


def check(answer: httpx2.Response) -> None:
    """Assert what must hold for every answer."""
    assert answer.status_code < 500 or answer.status_code == 503, (answer.request.url, answer.text)
    headers = answer.headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "cache-control" in headers
    assert not {"server", "x-powered-by", "set-cookie", "access-control-allow-origin"} & set(headers)
    assert not LEAKS.search(answer.text), answer.text[:300]


def test_every_route_answers_closed(gateway: Gateway) -> None:
    for verb, path in routes(gateway):
        check(gateway.client.request(verb, path))
        check(gateway.client.request(verb, path, content=b"\xff", headers={"Content-Type": "application/json"}))


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_are_refused_and_echo_nothing(gateway: Gateway, method: str) -> None:
    for path in ("/", "/jobs", "/livez", "/stylize"):
        answer = gateway.client.request(method, path, headers={"X-Secret": "a secret word"})
        assert answer.status_code in (400, 405), (method, path)
        assert "a secret word" not in answer.text


@pytest.mark.parametrize("path", TRICKS)
def test_odd_paths_lead_nowhere(gateway: Gateway, path: str) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1"))
        received = b""
        while piece := line.recv(65536):
            received += piece
    status = int(received.split(b" ", 2)[1])
    assert 400 <= status < 500, received[:200]
    assert b"set-cookie" not in received.lower()
    assert not LEAKS.search(received.decode("latin-1"))


def test_the_log_tells_of_no_fault_of_ours(gateway: Gateway) -> None:
    assert "Traceback" not in gateway.log.read_text()
