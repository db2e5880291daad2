"""What a page of another site may have a browser do to the gateway: nothing (A1)."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from app.auth.api_key import create_api_key
from app.auth.key_store import KeyStore
from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import FORM, style
from workers.contract.runtime.redis import connect

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:1"},
    {"Origin": "ftp://localhost"},
    {"Origin": ""},
    {"Origin": "http://[::1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "EVIL.example:80",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "0.0.0.0",  # noqa: S104 - what a page may try
        "[::",
        "evil.example@localhost",
        "localhost/evil.example",
        "localhost:99999",
    ],
)
@pytest.mark.parametrize("path", ["/jobs", "/webhooks/secret", "/", "/docs", "/openapi.json", "/nothing"])
def test_another_host_is_421(gateway: Gateway, host: str, path: str) -> None:
    refused = gateway.client.get(path, headers={"Host": host, "X-Forwarded-Host": "localhost"})
    assert refused.status_code == httpx2.codes.MISDIRECTED_REQUEST
    assert refused.json()["type"] == "urn:stylize:problem:misdirected"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:{port}", "localhost.", "127.0.0.1", "127.9.9.9:1", "[::1]:8000"]
)
def test_this_machine_by_any_name_is_served(gateway: Gateway, host: str) -> None:
    assert gateway.client.get("/jobs", headers={"Host": host.format(port=gateway.port)}).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_probes_come_by_any_address(gateway: Gateway, path: str) -> None:
    assert gateway.client.get(path, headers={"Host": "10.9.8.7"}).status_code in (200, 204, 503)


def test_the_absolute_form_names_the_host(gateway: Gateway) -> None:
    request = b"GET http://evil.example/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as line:
        line.sendall(request)
        assert b" 421 " in line.recv(65536).partition(b"\r\n")[0]


def test_the_absolute_form_takes_an_ipv6_address(gateway: Gateway) -> None:
    request = b"GET http://[::1]:80/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as line:
        line.sendall(request)
        assert b" 200 " in line.recv(65536).partition(b"\r\n")[0]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_foreign_page_sends_nothing(gateway: Gateway, headers: dict[str, str]) -> None:
    before = gateway.client.get("/jobs").json()["jobs"][:1]
    answers = [
        gateway.client.post("/stylize", data=FORM, files=style(), headers=headers),
        gateway.client.post("/styles", data={"name": "x"}, files=style(), headers=headers),
        gateway.client.post("/comparisons", data=FORM, files=style(), headers=headers),
        gateway.client.post("/v1/images/generations", json={}, headers=headers),
        gateway.client.delete("/jobs/x", headers=headers),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert gateway.client.get("/jobs").json()["jobs"][:1] == before
    assert gateway.client.get("/jobs", headers=headers).status_code == 200


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_our_own_page_sends(gateway: Gateway, site: str) -> None:
    headers = {"Origin": f"http://127.0.0.1:{gateway.port}", "Sec-Fetch-Site": site}
    gateway.accepted(**headers)


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded", ""])
def test_json_is_taken_as_json_only(gateway: Gateway, kind: str) -> None:
    refused = gateway.client.post("/v1/images/generations", content=b"{}", headers={"Content-Type": kind})
    assert refused.status_code == httpx2.codes.UNSUPPORTED_MEDIA_TYPE


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory, gateway_redis: RedisProcess) -> Iterator[Gateway]:
    environ = {
        "STYLIZE_GATEWAY_ALLOWED_HOSTS": "pics.internal, gateway",
        "STYLIZE_GATEWAY_PUBLIC_URL": "https://pics.example.com/style",
    }
    with Gateway(tmp_path_factory.mktemp("named"), gateway_redis, environ) as running:
        yield running


def test_the_operator_names_hosts(named: Gateway) -> None:
    answers = {
        host: named.client.get("/jobs", headers={"Host": host}).status_code
        for host in ("pics.internal", "gateway:8000", "pics.example.com", "example.com", "pics.example.com.evil")
    }
    assert list(answers.values()) == [200, 200, 200, 421, 421]


def test_pages_of_the_public_address_send_although_tls_ends_before_us(named: Gateway) -> None:
    named.accepted(Host="gateway:8000", Origin="https://pics.example.com")
    named.accepted(Host="pics.internal", Origin="https://pics.internal")


def test_with_a_key_pages_of_others_send_too(tmp_path: Path) -> None:
    key, token = create_api_key("a page elsewhere")
    with RedisProcess(tmp_path / "redis") as redis:
        with connect(redis.url) as client:
            KeyStore(client).put(key)
        with Gateway(tmp_path, redis) as gateway:
            headers = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
            assert gateway.post(**headers).status_code == 401
            gateway.accepted(**headers, Authorization=f"Bearer {token}")
