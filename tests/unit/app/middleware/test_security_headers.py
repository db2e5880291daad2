"""What every answer tells a browser."""

import pytest

from tests.support.gateway import Gateway

PAGES = [
    "/",
    "/docs",
    "/openapi.json",
    "/livez",
    "/readyz",
    "/metrics",
    "/jobs",
    "/styles",
    "/methods",
    "/nothing",
    "/jobs/x",
]


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_is_closed(gateway: Gateway, path: str) -> None:
    headers = gateway.client.get(path).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] in ("no-store", "no-cache")


@pytest.mark.parametrize("path", ["/jobs", "/styles", "/jobs/x", "/webhooks/secret"])
def test_what_belongs_to_a_caller_is_not_stored(gateway: Gateway, path: str) -> None:
    assert gateway.client.get(path).headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", [*PAGES, "/jobs/x/images/0"])
def test_head_is_get_without_a_body(gateway: Gateway, path: str) -> None:
    shown, head = gateway.client.get(path), gateway.client.head(path)
    assert head.status_code == shown.status_code
    assert head.content == b""


def test_a_stream_has_no_head(gateway: Gateway) -> None:
    assert gateway.client.head("/jobs/x/events").status_code == 405
