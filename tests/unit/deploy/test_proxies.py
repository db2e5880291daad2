"""The numbers of the proxies' files, compared with the gateway's settings."""

import re
from pathlib import Path
from typing import Any

import yaml

from app.settings import GatewaySettings

DEPLOY = Path(__file__).parents[3] / "deploy"
NGINX = (DEPLOY / "proxies" / "nginx.conf").read_text()
CADDY = (DEPLOY / "proxies" / "Caddyfile").read_text()
TRAEFIK: dict[str, Any] = yaml.safe_load((DEPLOY / "proxies" / "traefik.yml").read_text())["http"]
MIB, MB = 2**20, 10**6


def default(name: str) -> float:
    return float(GatewaySettings.model_fields[f"gateway_{name}"].default)


def number(pattern: str, text: str) -> int:
    [found] = re.findall(pattern, text)
    return int(found)


def test_bodies_are_bounded_by_the_gateway_first() -> None:
    least = default("body_bytes")
    assert least < number(r"client_max_body_size (\d+)m;", NGINX) * MIB < 1.2 * least
    assert least < number(r"max_size (\d+)MB", CADDY) * MB < 1.2 * least
    assert "middlewares" not in TRAEFIK, "its `buffering` would hold back events"


def test_an_answer_may_take_as_long_as_the_longest_wait_and_a_stream_as_long_as_it_lasts() -> None:
    least = default("wait_seconds") + default("form_seconds")
    [traefik] = TRAEFIK["serversTransports"].values()
    timeouts = [
        number(r"proxy_read_timeout (\d+)s;", NGINX),
        number(r"response_header_timeout (\d+)s", CADDY),
        number(r"^(\d+)s$", traefik["forwardingTimeouts"]["responseHeaderTimeout"]),
    ]
    assert min(timeouts) > max(least, 3 * default("heartbeat_seconds"))


def test_nothing_is_held_back() -> None:
    assert "proxy_buffering off;" in NGINX
    assert "flush_interval -1" in CADDY
    assert TRAEFIK["services"]["stylize"]["loadBalancer"]["responseForwarding"] == {"flushInterval": "1ms"}


def test_metrics_are_closed() -> None:
    assert "location = /metrics { return 404; }" in NGINX
    assert "respond /metrics 404" in CADDY
    assert "!Path(`/metrics`)" in TRAEFIK["routers"]["stylize"]["rule"]
