"""Pages of other sites: none may use the API unless the operator names their origin."""

import pytest

from app.middleware.cross_origin import SHOWN
from app.settings import GatewaySettings
from tests.support.gateway import Gateway
from tests.support.pictures import style
from tests.unit.app.middleware.conftest import PAGE
from workers.contract.errors import Misconfigured

ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, idempotency-key"}


def preflight(gateway: Gateway, origin: str, **headers: str) -> tuple[int, dict[str, str]]:
    answer = gateway.client.options("/v1/stylize", headers={"Origin": origin, **ASKS, **headers})
    return answer.status_code, dict(answer.headers)


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:5173"])
def test_a_page_of_a_named_origin_may_ask(proxied: Gateway, origin: str) -> None:
    status, headers = preflight(proxied, origin)
    assert (status, headers["access-control-allow-origin"]) == (200, origin)
    assert {"authorization", "idempotency-key", "prefer", "range"} <= set(
        headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
    )
    assert "DELETE" in headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize("origin", ["https://evil.example", "http://app.example.com", f"{PAGE}:8443", "null"])
def test_no_other_page_may(proxied: Gateway, origin: str) -> None:
    status, headers = preflight(proxied, origin)
    assert (status, "access-control-allow-origin" in headers) == (400, False)
    posted = proxied.client.post("/stylize", data={"prompt": "a"}, files=style(), headers={"Origin": origin})
    assert (posted.status_code, "access-control-allow-origin" in posted.headers) == (403, False)


def test_what_a_page_gets_it_can_read(proxied: Gateway) -> None:
    from_there = {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}
    accepted = proxied.post(**from_there)
    assert accepted.status_code == 202, accepted.text
    missing = proxied.client.get("/jobs/unknown", headers=from_there)
    assert missing.status_code == 404
    for answer in (accepted, missing):
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "Origin" in answer.headers["vary"]
        assert set(answer.headers["access-control-expose-headers"].split(", ")) == set(SHOWN)


def test_without_the_setting_no_page_may(gateway: Gateway) -> None:
    status, headers = preflight(gateway, PAGE)
    assert status == 405
    assert not [name for name in headers if name.startswith("access-control")]
    assert not [
        name for name in gateway.client.get("/jobs", headers={"Origin": PAGE}).headers if "control-allow" in name
    ]


@pytest.mark.parametrize("origin", ["app.example.com", "https://app.example.com/path", "ftp://x.example", "https://*"])
def test_an_origin_that_no_browser_sends_refuses_to_start(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    monkeypatch.setenv("STYLIZE_MODELS", "sd15")
    monkeypatch.setenv("STYLIZE_GATEWAY_CORS_ORIGINS", origin)
    with pytest.raises(Misconfigured, match="STYLIZE_GATEWAY_CORS_ORIGINS"):
        GatewaySettings.read()
