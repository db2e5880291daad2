"""The files for nginx and Caddy, with the real proxy where it is installed and the real gateway."""

import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture, style
from tests.support.service import PATIENCE, free_port, until
from tests.support.tls_redis import write_certificate

PROXIES = Path(__file__).parents[3] / "deploy" / "proxies"
NAME = "pics.example.com"
BODY_BYTES = 4_000_000
NGINX = """
{user}
daemon off;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/stylize.conf;
}}
"""


@dataclass(frozen=True)
class Proxy:
    """A gateway behind a proxy, and a client that reaches it only through the proxy."""

    client: httpx2.Client
    gateway: Gateway


def put(text: str, changes: dict[str, str]) -> str:
    for ours, test in changes.items():
        assert ours in text
        text = text.replace(ours, test)
    return text


def nginx(folder: Path, gateway: int, port: int) -> list[str]:
    """Write the file with other names and ports and nothing else changed; return the command."""
    tls = write_certificate(folder / "tls.pem", NAME)
    changes = {
        "127.0.0.1:8000": f"127.0.0.1:{gateway}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "listen 80": f"listen 127.0.0.1:{free_port()}",
        f"/etc/nginx/tls/{NAME}.pem": str(tls),
        f"/etc/nginx/tls/{NAME}.key": str(tls),
    }
    (folder / "stylize.conf").write_text(put((PROXIES / "nginx.conf").read_text(), changes))
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, user=user))
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, gateway: int, port: int) -> list[str]:
    tls = write_certificate(folder / "tls.pem", NAME)
    head = "{\n\tadmin off\n\tauto_https off\n}\n"
    changes = {
        "127.0.0.1:8000": f"127.0.0.1:{gateway}",
        f"\n{NAME} {{\n": f"\nhttps://{NAME}:{port} {{\n\ttls {tls} {tls}\n",
    }
    (folder / "Caddyfile").write_text(head + put((PROXIES / "Caddyfile").read_text(), changes))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@pytest.fixture(scope="module", params=[nginx, caddy], ids=lambda write: write.__name__)
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    write: Callable[[Path, int, int], list[str]] = request.param
    if shutil.which(write.__name__) is None:
        pytest.skip(f"Debian's package {write.__name__} is not installed")
    folder, port = tmp_path_factory.mktemp(write.__name__), free_port()
    public = f"https://{NAME}:{port}"
    environ = {"STYLIZE_GATEWAY_PUBLIC_URL": public, "STYLIZE_GATEWAY_BODY_BYTES": str(BODY_BYTES)}
    with RedisProcess(folder / "redis") as redis, Gateway(folder, redis, environ) as gateway:
        command = write(folder, gateway.port, port)
        environ = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        trust = ssl.create_default_context(cafile=str(folder / "tls.pem"))
        trust.check_hostname = False  # by its address
        headers = {"Host": f"{NAME}:{port}"}
        with (
            (folder / "proxy.log").open("wb") as log,
            subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process,
            httpx2.Client(
                base_url=f"https://127.0.0.1:{port}", headers=headers, verify=trust, timeout=PATIENCE
            ) as client,
        ):
            try:
                until(lambda: listens(client, process), "the proxy answers")
                yield Proxy(client, gateway)
            finally:
                process.terminate()


def listens(client: httpx2.Client, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "the proxy ended"
    try:
        return client.get("/livez", extensions={"sni_hostname": NAME}).status_code == 204
    except httpx2.TransportError:
        return False


def send(proxy: Proxy, method: str, path: str, **more: object) -> httpx2.Response:
    return proxy.client.request(method, path, extensions={"sni_hostname": NAME}, **more)  # type: ignore[arg-type]


def test_a_photo_passes_and_what_is_too_large_is_refused_by_the_gateway_in_words(proxy: Proxy) -> None:
    noise = encoded(picture(size=(1000, 1000)).effect_spread(500), "PNG")
    photo = noise + b"\0" * max(0, 2_000_000 - len(noise))
    form = {"method": "signal-leak", "prompt": "a house"}
    taken = send(proxy, "POST", "/stylize", data=form, files=style(photo))
    assert taken.status_code == 202, taken.text
    refused = send(proxy, "POST", "/stylize", data=form, files=style(b"\0" * (BODY_BYTES + 1)))
    assert refused.status_code == 413
    assert refused.headers["content-type"] == "application/problem+json"


def test_the_gateway_drops_a_little_too_much_without_breaking_the_connection(proxy: Proxy) -> None:
    """A connection that breaks while the proxy still sends is a 502 to the caller."""
    for refused in (
        proxy.gateway.post(files=style(b"\0" * (BODY_BYTES + 1))),
        proxy.gateway.client.post("/stylize", json={"prompt": "a" * 1_000_000}),
    ):
        assert refused.status_code == 413
        assert refused.headers.get("connection") != "close"
    assert send(proxy, "POST", "/stylize", json={"prompt": "a" * 1_000_000}).status_code == 413


def test_metrics_are_closed_and_the_rest_is_open(proxy: Proxy) -> None:
    assert send(proxy, "GET", "/metrics").status_code == 404
    assert proxy.gateway.client.get("/metrics").status_code == 200
    assert send(proxy, "GET", "/methods").status_code == 200
    assert send(proxy, "GET", "/").headers["content-type"].startswith("text/html")


def test_links_are_the_proxys(proxy: Proxy) -> None:
    job = proxy.gateway.accepted()["id"]
    proxy.gateway.finish(job, encoded(picture()))
    [image] = send(proxy, "GET", f"/jobs/{job}").json()["images"]
    assert image["url"].startswith(f"https://{NAME}:")


def test_events_come_while_the_job_waits(proxy: Proxy) -> None:
    """The stream stays open until the job is final: what a proxy holds back does not come before that."""
    job = proxy.gateway.accepted()["id"]
    sni = {"sni_hostname": NAME}
    with proxy.client.stream("GET", f"/jobs/{job}/events", extensions=sni) as events:
        lines = events.iter_lines()
        first = next(line for line in lines if line.startswith("data:"))
        assert '"queued"' in first
        proxy.gateway.finish(job, encoded(picture()))
        assert '"succeeded"' in [line for line in lines if line.startswith("data:")][-1]


def test_a_wait_is_as_long_as_asked_for(proxy: Proxy) -> None:
    began = time.monotonic()
    waited = send(
        proxy,
        "POST",
        "/stylize",
        data={"method": "signal-leak", "prompt": "a house"},
        files=style(),
        headers={"Prefer": "wait=2"},
    )
    assert waited.status_code == 202
    assert time.monotonic() - began >= 2
