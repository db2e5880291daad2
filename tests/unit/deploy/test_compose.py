"""docker-compose.yml: valid by its published schema, hardened, health-gated, and true to our settings."""

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from app.cli.env_file import names
from model_store.catalogue import entry_of
from model_store.store.presence import presence
from workers.settings import WorkerSettings

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if str(service["image"]).startswith("stylize-")]
LASTING = [name for name, service in SERVICES.items() if service.get("restart") != "no"]
ONE_SHOT = sorted(SERVICES.keys() - set(LASTING))


def environment(name: str) -> dict[str, str]:
    return dict(SERVICES[name].get("environment", {}))


def test_it_is_valid_by_the_published_schema() -> None:
    schema = json.loads((Path(__file__).parent / "schemas" / "compose-spec.json").read_text())
    faults = jsonschema.Draft202012Validator(schema).iter_errors(COMPOSE)
    assert [f"{list(fault.absolute_path)}: {fault.message}" for fault in faults] == []


@pytest.fixture(scope="module")
def compose() -> tuple[str, ...]:
    """Compose's own program, which resolves the file without a daemon; its first version knew another format."""
    for command in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(command[0]):
            told = subprocess.run((*command, "version", "--short"), capture_output=True, text=True, check=False)
            if told.returncode == 0 and not told.stdout.strip().lstrip("v").startswith("1."):
                return command
    pytest.skip("no `docker compose` is installed")


def resolved(compose: tuple[str, ...], *files: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("STYLIZE_", "COMPOSE_"))}
    named = [option for file in files for option in ("--file", file)]
    options = ("--project-directory", ROOT, *named, "--env-file", ROOT / ".env.example")
    command = (*compose, *options, "config", "--format", "json")
    return subprocess.run(command, env=clean | environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("profiles", "more"),
    [
        ("cpu", {"worker-cpu"}),
        ("gpu", {"worker-0"}),
        ("gpu2,dcgm", {"worker-0", "worker-1", "dcgm"}),
        ("gpu8,alerts", {*(f"worker-{gpu}" for gpu in range(8)), "alertmanager"}),
        ("cpu,s3,observability", {"worker-cpu", "s3", "s3-owner", "s3-bucket", "prometheus", "grafana"}),
    ],
)
def test_compose_itself_resolves_it(compose: tuple[str, ...], profiles: str, more: set[str]) -> None:
    done = resolved(compose, ROOT / "docker-compose.yml", COMPOSE_PROFILES=profiles)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["services"]
    assert set(found) == {"gateway", "sweeper", "redis"} | more
    assert found["sweeper"]["environment"]["STYLIZE_MODELS"] == "starter"


def test_compose_itself_takes_an_s3_of_aws(compose: tuple[str, ...]) -> None:
    environ = {"COMPOSE_PROFILES": "gpu", "STYLIZE_BLOB_URL": "s3://bucket", "STYLIZE_S3_ENDPOINT_URL": ""}
    done = resolved(compose, ROOT / "docker-compose.yml", DEPLOY / "compose" / "outside-store.yml", **environ)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["services"]
    assert found["worker-0"]["environment"]["STYLIZE_S3_ENDPOINT_URL"] == ""
    assert all(set(found[name]["networks"]) == {"inside", "outside"} for name in ("worker-0", "sweeper", "gateway"))


def test_compose_itself_publishes_the_stores_on_the_address_named(compose: tuple[str, ...]) -> None:
    files = (ROOT / "docker-compose.yml", DEPLOY / "compose" / "share-stores.yml")
    done = resolved(compose, *files, COMPOSE_PROFILES="s3", STORES_ADDRESS="10.0.0.1")
    assert done.returncode == 0, done.stderr
    ports = [port for service in ("redis", "s3") for port in json.loads(done.stdout)["services"][service]["ports"]]
    assert [(port["host_ip"], port["target"]) for port in ports] == [("10.0.0.1", 6379), ("10.0.0.1", 9000)]
    assert "STORES_ADDRESS" in resolved(compose, *files, COMPOSE_PROFILES="s3").stderr


def test_compose_itself_refuses_a_fault(compose: tuple[str, ...], tmp_path: Path) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    (tmp_path / "docker-compose.yml").write_text(text.replace("stop_grace_period: 60s", "stop_grace_periode: 60s"))
    done = resolved(compose, tmp_path / "docker-compose.yml", COMPOSE_PROFILES="cpu")
    assert done.returncode != 0
    assert "stop_grace_periode" in done.stderr


def test_a_misspelt_key_is_not_valid_by_the_schema() -> None:
    schema = json.loads((Path(__file__).parent / "schemas" / "compose-spec.json").read_text())
    ill = COMPOSE | {"services": SERVICES | {"gateway": SERVICES["gateway"] | {"stop_grace_periode": "60s"}}}
    [fault] = jsonschema.Draft202012Validator(schema).iter_errors(ill)
    assert "stop_grace_periode" in fault.message


def test_the_model_served_unless_another_is_named_needs_no_download() -> None:
    [model] = {re.sub(r"\$\{STYLIZE_MODELS:-(.*)\}", r"\1", environment(name)["STYLIZE_MODELS"]) for name in OURS}
    assert entry_of(model, Path("none")).origin == "shipped"
    assert presence(model, Path("none")).state == "installed"


@pytest.mark.parametrize("name", OURS)
def test_our_variables_are_settings(name: str) -> None:
    ours = {key.removesuffix("_FILE") for key in environment(name) if key.startswith("STYLIZE_")}
    assert ours
    assert ours <= names()


def test_interpolated_variables_are_settings_or_explained() -> None:
    files = [ROOT / "docker-compose.yml", *(DEPLOY / "compose").glob("*.yml")]
    asked = set(re.findall(r"\$\{(\w+)", "".join(file.read_text() for file in files)))
    explained = set(re.findall(r"^#?(\w+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    assert asked <= explained


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    assert name in OURS or re.search(r":v?\d+\.\d+\.\d+", image), f"{image} is not pinned"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert name in ("dcgm", "s3-owner") or service["read_only"] is True
    assert not service.get("privileged")
    assert name == "s3-owner" or service.get("user") not in ("0", "0:0", "root")


@pytest.mark.parametrize("name", [name for name in LASTING if name != "dcgm"])
def test_what_lasts_has_limits_and_a_check(name: str) -> None:
    limits = SERVICES[name]["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory"}
    built_in = name == "gateway" or name.startswith("worker-")
    assert built_in or "healthcheck" in SERVICES[name], "the image, or the service, has a health check"


def test_the_order_of_the_start_waits_for_health() -> None:
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how["condition"] == expected


def test_no_secret_stands_in_the_environment() -> None:
    for name in SERVICES:
        for key, value in environment(name).items():
            secret = re.search(r"PASSWORD|SECRET|ACCESS_KEY|CREDENTIALS|URL_KEY", key)
            assert not secret or str(value).startswith("/run/secrets/"), f"{name}: {key}"
        for secret_name in SERVICES[name].get("secrets", ()):
            assert secret_name in COMPOSE["secrets"]


def test_a_stop_lasts_longer_than_the_grace_of_a_job() -> None:
    grace = WorkerSettings.model_fields["worker_grace_seconds"].default
    for name in SERVICES:
        if name.startswith("worker-"):
            assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > grace


def test_workers_have_no_way_out() -> None:
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for name in SERVICES:
        if name.startswith("worker-") or name in ("redis", "s3", "sweeper"):
            assert SERVICES[name]["networks"] == ["inside"]
            assert "ports" not in SERVICES[name]


def test_each_gpu_has_a_worker_of_its_own() -> None:
    devices = [
        device["device_ids"]
        for name, service in SERVICES.items()
        if name.startswith("worker-")
        for device in service["deploy"]["resources"].get("reservations", {}).get("devices", ())
    ]
    assert devices == [[str(gpu)] for gpu in range(8)]


@pytest.mark.parametrize("gpus", range(1, 9))
def test_a_profile_starts_as_many_workers_as_it_says(gpus: int) -> None:
    profile = "gpu" if gpus == 1 else f"gpu{gpus}"
    started = {name for name, service in SERVICES.items() if profile in service.get("profiles", ())}
    assert started == {f"worker-{gpu}" for gpu in range(gpus)}


def test_a_worker_with_a_gpu_never_falls_back_to_the_cpu() -> None:
    devices = {
        name: environment(name)["STYLIZE_WORKER_DEVICE"] for name in SERVICES if re.fullmatch(r"worker-\w+", name)
    }
    assert devices.pop("worker-cpu") == "cpu"
    assert set(devices.values()) == {"cuda"}


def test_no_endpoint_can_be_said() -> None:
    """Compose's `-` takes a value that is set and empty, `:-` does not."""
    assert {environment(name)["STYLIZE_S3_ENDPOINT_URL"] for name in OURS} == {
        "${STYLIZE_S3_ENDPOINT_URL-http://s3:9000}"
    }


def test_a_store_elsewhere_gives_a_way_out_to_all_that_need_it() -> None:
    beside = yaml.safe_load((DEPLOY / "compose" / "outside-store.yml").read_text())["services"]
    need_it = {name for name in OURS if name != "doctor" and "outside" not in SERVICES[name]["networks"]}
    assert set(beside) == need_it
    assert all(service == {"networks": ["outside"]} for service in beside.values())


def test_stores_are_shared_on_an_address_that_must_be_named() -> None:
    shared = yaml.safe_load((DEPLOY / "compose" / "share-stores.yml").read_text())["services"]
    for name, port in {"redis": 6379, "s3": 9000}.items():
        [published] = shared.pop(name)["ports"]
        assert re.fullmatch(rf"\$\{{STORES_ADDRESS:\?[^}}]+\}}:{port}:{port}", published)
    assert shared == {}


@pytest.mark.parametrize("path", sorted((DEPLOY / "compose").glob("*.yml")), ids=lambda path: path.stem)
def test_what_stands_beside_it_is_valid_by_the_published_schema(path: Path) -> None:
    schema = json.loads((Path(__file__).parent / "schemas" / "compose-spec.json").read_text())
    beside = yaml.safe_load(path.read_text())
    assert [fault.message for fault in jsonschema.Draft202012Validator(schema).iter_errors(beside)] == []
    assert set(beside["services"]) <= set(SERVICES)


def test_only_the_gateway_is_published_and_by_default_to_this_host() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(ports) == {"gateway", "prometheus", "grafana", "alertmanager"}
    assert all(port.removeprefix("${GATEWAY_PUBLISHED:-").startswith("127.0.0.1:") for [port] in ports.values())


def test_every_file_that_is_mounted_is_there() -> None:
    mounted = [
        volume.rpartition(":")[0].rpartition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if volume[0] in ".$"
    ]
    mounted = [re.sub(r"^\$\{ALERTMANAGER_CONFIG:-(.*)\}$", r"\1", path) for path in mounted]
    mounted += [config["file"] for config in COMPOSE["configs"].values()]
    assert [path for path in mounted if not (ROOT / path).exists()] == []


def test_redis_is_set_up_as_every_process_verifies() -> None:
    lines = (DEPLOY / "compose" / "redis.conf").read_text().splitlines()
    assert {"appendonly yes", "appendfsync always", "maxmemory-policy noeviction"} <= set(lines)


def test_secrets_are_made_once_and_fit_together(tmp_path: Path) -> None:
    script = shutil.copy(DEPLOY / "compose" / "make-secrets.sh", tmp_path)

    def made() -> dict[str, str]:
        subprocess.run(["sh", script], check=True, capture_output=True, env={"PATH": os.environ["PATH"]})
        return {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}

    first = made()
    assert set(first) | {"alert_url"} == {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    password = first["redis_auth"].split()[1]
    assert f":{password}@" in first["redis_url"]
    assert first["s3_secret_key"] in first["s3_credentials"]
    assert len(first["url_key"]) >= 32
    assert made() == first
    (tmp_path / "secrets" / "url_key").unlink()
    (tmp_path / "secrets" / "s3_secret_key").unlink()
    again = made()
    assert again["s3_secret_key"] in again["s3_credentials"]
    assert first["s3_secret_key"] not in again["s3_credentials"]
    assert again["url_key"] != first["url_key"]
    assert again["redis_auth"] == first["redis_auth"]


def test_keys_of_another_store_stay(tmp_path: Path) -> None:
    script = shutil.copy(DEPLOY / "compose" / "make-secrets.sh", tmp_path)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "s3_credentials").write_text("[default]\naws_access_key_id = theirs\n")
    subprocess.run(["sh", script], check=True, capture_output=True)
    assert "theirs" in (tmp_path / "secrets" / "s3_credentials").read_text()


def test_in_a_folder_that_is_named_no_keys_of_a_store_are_made_up(tmp_path: Path) -> None:
    subprocess.run(["sh", DEPLOY / "compose" / "make-secrets.sh", tmp_path / "here"], check=True, capture_output=True)
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"redis_auth", "redis_url", "url_key"}
