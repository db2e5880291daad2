"""The Dockerfile: two images, as nobody in particular, with what they need and no more; and the health check."""

import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.env_file import names
from deploy.compose.healthcheck import healthy
from deploy.embedded.redis import RedisProcess
from tests.bench import images
from tests.bench.engine import composed
from tests.support.gateway import Gateway

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAGES = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM|\Z)", DOCKERFILE, flags=re.MULTILINE | re.DOTALL))
METRICS = b"# HELP warm Models.\n# TYPE warm gauge\nwarm 1\n# HELP cold Models.\n# TYPE cold gauge\ncold 0\n"


def test_the_stages_are_there() -> None:
    assert {"gateway", "worker"} <= set(STAGES)


@pytest.mark.parametrize("name", ["gateway", "worker"])
def test_an_image_says_how_it_is_checked_and_run(name: str) -> None:
    stage = STAGES[name]
    assert "HEALTHCHECK" in stage
    assert "\nCMD [" in stage
    assert "RUN" not in stage, "nothing is built in the last stage"
    assert f"FROM runtime AS {name}" in DOCKERFILE


def test_the_images_run_as_nobody_in_particular() -> None:
    assert re.search(r"^USER 10001:10001$", STAGES["runtime"], flags=re.MULTILINE)
    assert "USER" not in STAGES["gateway"] + STAGES["worker"]


def test_only_the_lock_decides_on_versions() -> None:
    installs = re.findall(r"pip --python \S+ install (.*)", DOCKERFILE)
    assert installs
    assert all("--no-deps" in line or "torch==" in line for line in installs)
    assert sum("--require-hashes" in line for line in installs) == 2


def test_the_gateway_installs_no_torch() -> None:
    assert "locks/gateway.lock" in STAGES["gateway-source"]
    assert "worker" not in STAGES["gateway-source"]


def test_its_variables_are_settings() -> None:
    assert set(re.findall(r"STYLIZE_\w+", DOCKERFILE)) <= names()


def test_the_builder_gets_what_it_copies_and_no_secrets() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    sent = {line[1:] for line in lines if line.startswith("!")}
    copied = set(" ".join(re.findall(r"^COPY (?!--from)(.*) \./$", DOCKERFILE, flags=re.MULTILINE)).split())
    assert copied <= sent
    assert "deploy/compose/secrets" in lines


@pytest.mark.parametrize(("with_index", "state"), [(True, "installed"), (False, "missing")])
def test_a_gateway_without_weights_knows_the_starter_model(tmp_path: Path, with_index: bool, state: str) -> None:
    assert "-name '*.safetensors' -delete" in STAGES["gateway-source"]
    copy, left_out = tmp_path / "copy", shutil.ignore_patterns("*.safetensors", "__pycache__")
    for package in ("app", "workers", "model_store", "deploy"):
        shutil.copytree(ROOT / package, copy / package, ignore=left_out)
    if not with_index:
        (copy / "model_store" / "starter" / "weights" / "model_index.json").unlink()
    environ = {"PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1", "STYLIZE_MODELS": "starter"}
    with RedisProcess(tmp_path / "redis") as redis, Gateway(tmp_path, redis, environ) as gateway:
        [model] = gateway.client.get("/models").json()["models"]
        assert (model["id"], model["state"]) == ("starter", state)
        gateway.accepted({"method": "signal-leak"})


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/metrics" else 503)
        self.end_headers()
        self.wfile.write(METRICS)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Page) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "metric", "expected"),
    [
        ("/metrics", None, True),
        ("/metrics", "warm", True),
        ("/metrics", "cold", False),
        ("/metrics", "none", False),
        ("/broken", None, False),
    ],
)
def test_the_health_check(server: str, path: str, metric: str | None, expected: bool) -> None:
    assert healthy(server + path, metric) is expected


def test_nobody_there_is_not_healthy() -> None:
    assert not healthy("http://127.0.0.1:1/livez", None)


def test_the_bench_of_the_images_starts_the_services_of_compose_in_their_order() -> None:
    found = composed.services()
    assert "$" not in str([service.get("environment") for service in found.values()])
    order = composed.in_order(found)
    assert set(order) == {"redis", "gateway", "sweeper", "worker-cpu"}
    assert order[0] == "redis"
    assert images.composed is composed
