"""`/metrics` on a port of its own: there is nothing else there, and nowhere else `/metrics`."""

from pathlib import Path

import httpx2
import pytest

from app.__main__ import warn_of_relative_links
from app.settings import GatewaySettings
from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.service import PATIENCE, free_port
from workers.contract.errors import Misconfigured

EVERY = "0.0.0.0"  # noqa: S104 - what an operator may set
RELATIVE = "STYLIZE_GATEWAY_PUBLIC_URL is not set"


def test_metrics_have_a_port_of_their_own(gateway_redis: RedisProcess, tmp_path: Path) -> None:
    port = free_port()
    with (
        Gateway(tmp_path, gateway_redis, {"STYLIZE_GATEWAY_METRICS_PORT": str(port)}) as gateway,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as watcher,
    ):
        assert "stylize_build_info" in watcher.get("/metrics").text
        assert watcher.head("/metrics").status_code == 200
        for path in ("/jobs", "/v1/jobs", "/", "/docs", "/livez", "/studio/js/main.js"):
            assert watcher.get(path).status_code == 404, path
        assert watcher.post("/stylize").status_code == 404
        assert gateway.client.get("/metrics").status_code == 404
        assert gateway.client.get("/jobs").status_code == 200


def test_the_two_ports_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MODELS": "sd15", "GATEWAY_PORT": "8000", "GATEWAY_METRICS_PORT": "8000"}.items():
        monkeypatch.setenv(f"STYLIZE_{name}", value)
    with pytest.raises(Misconfigured, match="STYLIZE_GATEWAY_METRICS_PORT"):
        GatewaySettings.read()


@pytest.mark.parametrize(
    ("environ", "warned"),
    [
        ({}, False),
        ({"STYLIZE_GATEWAY_ALLOWED_HOSTS": "pics.example.com"}, True),
        ({"STYLIZE_GATEWAY_WEBHOOK_ALLOW": "http://10.0.0.7:9000"}, True),
        ({"STYLIZE_GATEWAY_HOST": EVERY, "STYLIZE_GATEWAY_ALLOW_ANONYMOUS": "true"}, True),
        (
            {
                "STYLIZE_GATEWAY_ALLOWED_HOSTS": "pics.example.com",
                "STYLIZE_GATEWAY_PUBLIC_URL": "https://pics.example.com",
            },
            False,
        ),
    ],
    ids=["this machine alone", "by name", "a receiver", "every address", "told"],
)
def test_a_start_without_a_public_address_says_what_callers_will_get(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], warned: bool
) -> None:
    for name, value in {"STYLIZE_MODELS": "sd15", **environ}.items():
        monkeypatch.setenv(name, value)
    warn_of_relative_links(GatewaySettings.read())
    assert (RELATIVE in caplog.text) == warned
