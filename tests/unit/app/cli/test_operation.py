"""Methods, models, health, metrics, documentation, and errors of every status."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import style
from tests.support.service import PATIENCE, until
from workers.contract.jobs.results import WorkerStatus
from workers.techniques import registry

PROBLEM = "application/problem+json"


def test_methods_tell_all_that_a_spec_declares(gateway: Gateway) -> None:
    methods = {method["name"]: method for method in gateway.client.get("/methods").raise_for_status().json()["methods"]}
    assert tuple(methods) == registry.names()
    leak = methods["signal-leak"]
    spec = registry.spec("signal-leak")
    assert leak["aliases"] == ["prior-noise"]
    assert leak["parameters"] == spec.params_schema()
    assert leak["parameters"]["additionalProperties"] is False
    assert leak["inputs"]["references"] == list(spec.inputs.references)
    assert leak["models"] == ["tiny-sd15", "tiny-sdxl"]
    assert (leak["available"], leak["refusals"]) == ([], {}), "no worker is there yet"
    assert {"family", "cost", "rights", "defaults", "strength", "paper", "warm"} <= leak.keys()


def test_warm_follows_the_workers(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis") as redis, Gateway(tmp_path, redis) as gateway:
        assert not gateway.client.get("/methods").json()["methods"][0]["warm"]
        starting = gateway.client.get("/readyz")
        assert (starting.status_code, starting.json()["checks"]["workers"]) == (503, "no worker is running")
        assert starting.headers["retry-after"]
        able = {"tiny-sd15": {"signal-leak": "", "ip-adapter": "not installed"}}
        announced = WorkerStatus(id="w", queues=("tiny-sd15",), models=("tiny-sd15",), methods=able, state="idle")
        gateway.store.announce(announced, 60)
        methods = {method["name"]: method for method in gateway.client.get("/methods").json()["methods"]}
        assert all(method["warm"] == ("tiny-sd15" in method["models"]) for method in methods.values())
        assert (methods["signal-leak"]["available"], methods["signal-leak"]["refusals"]) == (["tiny-sd15"], {})
        assert (methods["ip-adapter"]["available"], methods["ip-adapter"]["refusals"]) == (
            [],
            {"tiny-sd15": "not installed"},
        )
        models = gateway.client.get("/models").json()["models"]
        assert [(model["id"], model["base"], model["default"], model["warm"]) for model in models] == [
            ("tiny-sd15", "sd15", True, True),
            ("tiny-sdxl", "sdxl", False, False),
        ]
        assert until_ready(gateway) == {"redis": "ok", "blobs": "ok", "workers": "ok"}
        redis.kill()
        away = gateway.post()
        assert (away.status_code, away.json()["type"]) == (503, "urn:stylize:problem:unavailable")
        assert away.headers["retry-after"]
        assert gateway.client.get("/livez").status_code == 204
        assert gateway.client.get("/metrics").status_code == 200
        redis.start()
        gateway.accepted()


def until_ready(gateway: Gateway) -> dict[str, str]:
    until(lambda: gateway.client.get("/readyz").status_code == 200, "the gateway is ready")
    return dict(gateway.client.get("/readyz").json()["checks"])


def test_a_full_queue_is_429_and_a_broken_blob_store_503(tmp_path: Path) -> None:
    environ = {"STYLIZE_MAX_QUEUED": "1"}
    with RedisProcess(tmp_path / "redis") as redis, Gateway(tmp_path, redis, environ) as gateway:
        first = gateway.accepted(**{"Idempotency-Key": "k"})
        full = gateway.post()
        assert (full.status_code, full.json()["type"]) == (429, "urn:stylize:problem:queue-full")
        assert int(full.headers["retry-after"]) >= 1
        gateway.client.delete(first["links"]["self"])
        (tmp_path / "blobs").rename(tmp_path / "gone")
        (tmp_path / "blobs").write_text("in the way")
        broken = gateway.post()
        assert (broken.status_code, broken.json()["type"]) == (503, "urn:stylize:problem:unavailable")
        checks = gateway.client.get("/readyz").json()["checks"]
        assert checks["redis"] == "ok"
        assert "blob store" in checks["blobs"]
        assert sum(line.count for line in gateway.store.queue_stats().queued) == 0, "nothing half-accepted"


def samples(gateway: Gateway) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = gateway.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics_count_requests_jobs_and_the_queue(gateway: Gateway) -> None:
    key: tuple[str, frozenset[tuple[str, str]]] = (
        "stylize_jobs_submitted_total",
        frozenset({("method", "signal-leak"), ("source", "api")}),
    )
    gateway.accepted()
    before = samples(gateway)[key]
    gateway.accepted()
    gateway.client.get("/jobs/unknown-one")
    gateway.client.request("PROPFIND", "/coffee/without/end")
    found = samples(gateway)
    assert found[key] == before + 1
    queued = frozenset({("queue", "tiny-sd15"), ("priority", "interactive")})
    assert found["stylize_jobs_queued", queued] >= 1
    assert found["stylize_queue_oldest_age_seconds", frozenset({("queue", "tiny-sd15")})] >= 0
    routes = {dict(labels)["route"] for name, labels in found if name == "http_server_request_duration_seconds_count"}
    documented = {path.removeprefix("/v1") for path in gateway.client.get("/openapi.json").json()["paths"]}
    pages = {
        "/v1/images/edits",
        "/v1/models",
        "/v1/models/{model}",
        "/v1/images/generations",
        "/openapi.json",
        "/docs",
        "/static-offline-docs",
        "/",
        "/studio",
    }
    assert routes <= {"none", *pages, *documented}, "no label holds what a caller made up"
    assert not [name for name, _ in found if name.endswith("_created")]
    buckets = [dict(labels) for name, labels in found if name == "http_server_request_duration_seconds_bucket"]
    assert all(labels.keys() == {"method", "route", "le"} for labels in buckets), "no bucket for each status"
    assert found["http_server_requests_total", frozenset({("method", "GET"), ("route", "/livez"), ("status", "204")})]
    verbs = {dict(labels)["method"] for name, labels in found if name == "http_server_request_duration_seconds_count"}
    assert "other" in verbs
    assert "PROPFIND" not in verbs
    assert any(name == "stylize_build_info" and value == 1 for (name, _), value in found.items())


def test_running_jobs_are_counted(gateway: Gateway) -> None:
    gateway.claimed(gateway.accepted()["id"])
    assert samples(gateway)["stylize_jobs_running", frozenset({("method", "signal-leak")})] >= 1


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [("GET", "/nothing", 404), ("PUT", "/jobs", 405), ("GET", "/stylize", 405), ("PROPFIND", "/jobs", 405)],
)
def test_what_the_router_refuses_is_a_problem_too(gateway: Gateway, verb: str, path: str, status: int) -> None:
    answer = gateway.client.request(verb, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["status"] == status
    assert answer.json()["type"].startswith("urn:stylize:problem:")
    assert (status != 405) or answer.headers["allow"]


def described(gateway: Gateway) -> dict[str, Any]:
    return dict(gateway.client.get("/openapi.json").json())


def test_the_documentation_describes_the_form(gateway: Gateway) -> None:
    assert gateway.client.get("/docs").status_code == 200
    operation = described(gateway)["paths"]["/v1/stylize"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {
        *(
            "style_image",
            "content_image",
            "control_image",
            "mask_image",
            "method",
            "prompt",
            "negative_prompt",
            "seed",
            "num_images",
        ),
        *("width", "height", "steps", "guidance_scale", "strength", "style_weights", "model", "params"),
        *("output_format", "priority", "webhook_url", "style_id", "recipe"),
    }
    assert form["additionalProperties"] is False
    assert form["properties"]["style_image"]["maxItems"] == 4
    assert form["properties"]["method"]["enum"][: len(registry.names())] == list(registry.names())
    assert [parameter["name"] for parameter in operation["parameters"]] == ["Idempotency-Key", "Prefer", "Cancel-After"]
    assert set(operation["responses"]) >= {"200", "202", "400", "408", "409", "413", "415", "422", "429", "500", "503"}


def test_every_error_in_the_documentation_is_a_problem(gateway: Gateway) -> None:
    for path, operations in described(gateway)["paths"].items():
        for verb, operation in operations.items():
            for status, response in operation["responses"].items():
                if int(status) >= 400 and path != "/readyz":
                    assert list(response["content"]) == [PROBLEM], (verb, path, status)


def test_the_gateway_starts_without_torch_and_stays_small(gateway: Gateway) -> None:
    gateway.accepted()
    maps = Path(f"/proc/{gateway.pid}/maps").read_text()
    assert "torch" not in maps
    assert "PIL" not in maps, "pictures are decoded elsewhere"
    assert gateway.rss() < 150 * 2**20


def test_an_upload_uses_the_memory_of_the_one_before(gateway: Gateway) -> None:
    no_picture = style(bytes(2_000_000))  # refused once it has been taken in
    for _ in range(5):
        assert gateway.post(files=no_picture).status_code == 415
    before = page_faults(gateway.pid)
    for _ in range(20):
        gateway.post(files=no_picture)
    assert (page_faults(gateway.pid) - before) / 20 < 100, "a page fault costs more than filling the page again"


def page_faults(pid: int) -> int:
    """Page faults of a process that needed no disk; a fresh page of 4 KB costs one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"STYLIZE_MODELS": ""}, "STYLIZE_MODELS"),
        ({"STYLIZE_MODELS": "starter,unheard-of"}, "unheard-of"),
        ({"STYLIZE_GATEWAY_PORT": "many"}, "STYLIZE_GATEWAY_PORT"),
        ({"STYLIZE_GATEWAY_UNHEARD": "1"}, "STYLIZE_GATEWAY_UNHEARD"),
        ({"STYLIZE_GATEWAY_URL_KEY": "short"}, "STYLIZE_GATEWAY_URL_KEY"),
        ({"STYLIZE_GATEWAY_PUBLIC_URL": "ftp://x"}, "STYLIZE_GATEWAY_PUBLIC_URL"),
        ({"STYLIZE_REDIS_URL": "nonsense"}, "STYLIZE_REDIS_URL"),
        ({"STYLIZE_BLOB_URL": "ftp://x"}, "ftp"),
        ({"STYLIZE_GATEWAY_HOST": "192.0.2.1"}, "cannot listen on 192.0.2.1"),
    ],
)
def test_bad_configuration_is_one_line(environ: dict[str, str], words: str, tmp_path: Path) -> None:
    good = {
        "PATH": "/usr/bin:/bin",
        "STYLIZE_MODELS": "starter",
        "STYLIZE_BLOB_URL": f"file:{tmp_path}",
        "STYLIZE_REDIS_URL": f"unix://{tmp_path}/none",
    }
    done = subprocess.run(
        [sys.executable, "-m", "app"], env=good | environ, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if " WARNING " not in line]
    assert len(lines) == 1
    assert words in lines[0]


def test_a_volatile_redis_is_refused(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis", "--maxmemory-policy", "allkeys-lru") as redis:
        environ = {
            "STYLIZE_MODELS": "starter",
            "STYLIZE_BLOB_URL": f"file:{tmp_path}",
            "STYLIZE_REDIS_URL": redis.url,
        }
        done = subprocess.run(
            [sys.executable, "-m", "app"], env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert done.returncode == 2
    assert "noeviction" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_line_says_what_it_can() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli.main", "up", "--help"], capture_output=True, text=True, check=True
    )
    assert "--data-dir" in done.stdout


def test_the_documentation_page_needs_no_other_host(gateway: Gateway) -> None:
    page = gateway.client.get("/docs").raise_for_status().text
    assert "https://" not in page
    for address in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        assert gateway.client.get(address).is_success, address
