"""`stylize doctor` finds every planted fault, says what to do, and ends with 1."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from app.cli import checks
from app.cli.checks import GIGABYTE, Check
from deploy.compose.make_bucket import make_bucket
from deploy.embedded.redis import RedisProcess
from tests.support.old_redis import OLD_VALKEY, install_server
from tests.support.tiny.store import install_tiny_models
from workers.contract.errors import Misconfigured
from workers.contract.jobs.results import WorkerStatus
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect
from workers.settings import WorkerSettings

pytestmark = pytest.mark.xdist_group("doctor")


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as child:
        yield child


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def settings(redis: RedisProcess, folder: Path, **fields: Any) -> WorkerSettings:
    given = {
        "redis_url": redis.url,
        "blob_url": f"file:{folder / 'blobs'}",
        "model_dir": folder / "models",
        "models": ("tiny-sd15",),
        "worker_device": "cpu",
    }
    return WorkerSettings.model_validate(given | fields)


def found(settings: WorkerSettings, about: str) -> Check:
    """Return what the doctor says about something: the worst, if it says more."""
    findings = [f for f in checks.examine(settings, JobStore.from_settings(settings)) if f.about == about]
    assert findings, about
    return max(findings, key=lambda finding: ("ok", "warning", "fault").index(finding.level))


def assert_fault(finding: Check, text: str, advice: str) -> None:
    assert finding.level == "fault"
    assert text in finding.text
    assert advice in finding.advice


def program(folder: Path, script: str) -> str:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_healthy_host_has_no_fault(redis: RedisProcess, tmp_path: Path) -> None:
    install_tiny_models(tmp_path / "models")
    given = settings(redis, tmp_path)
    JobStore.from_settings(given).announce(WorkerStatus(id="w", queues=("tiny-sd15",), models=("tiny-sd15",)), 60)
    findings = list(checks.examine(given, JobStore.from_settings(given)))
    assert [finding for finding in findings if finding.level == "fault" and finding.about != "disk"] == []
    assert {finding.about for finding in findings} == {
        *("redis", "redis version", "clock", "workers", "blobs", "disk", "models", "gpu"),
    }
    assert all(bool(finding.advice) == (finding.level != "ok") for finding in findings)


def test_redis_away(redis: RedisProcess, tmp_path: Path) -> None:
    away = settings(redis, tmp_path, redis_url=f"unix://{tmp_path}/none.sock")
    assert_fault(found(away, "redis"), "does not answer", "start Redis")


def test_redis_that_evicts(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis", "--maxmemory-policy", "allkeys-lru") as volatile:
        assert_fault(
            found(settings(volatile, tmp_path), "redis"), "maxmemory-policy noeviction", "configuration of Redis"
        )


def test_redis_that_writes_nothing_down(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis", "--appendonly", "no") as volatile:
        assert_fault(found(settings(volatile, tmp_path), "redis"), "appendonly yes", "configuration of Redis")


def test_redis_with_known_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = install_server(tmp_path / "bin", "redis-server", OLD_VALKEY)
    monkeypatch.setenv("PATH", str(server.parent), prepend=os.pathsep)
    with RedisProcess(tmp_path / "redis", "--appendonly", "no") as old:
        finding = found(settings(old, tmp_path), "redis version")
    assert (finding.level, finding.text) == ("warning", "Valkey 8.0.5 has known holes in its scripting")
    assert "8.0.6" in finding.advice


def test_redis_nearly_full(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis") as full, connect(full.url) as client:
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", int(used * 1.1))
        assert_fault(found(settings(full, tmp_path), "redis memory"), "% of its memory", "raise maxmemory")


def test_a_clock_that_is_off(redis: RedisProcess, tmp_path: Path) -> None:
    given = settings(redis, tmp_path)
    with connect(redis.url) as client:
        slow = JobStore(client, clock=lambda: 1_700_000_000_000)
        findings = {finding.about: finding for finding in checks.redis(slow)}
    assert_fault(findings["clock"], "s apart", "NTP")
    assert found(given, "clock").level == "ok"


def test_no_worker_and_one_without_the_model(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis") as quiet:
        given = settings(quiet, tmp_path)
        assert found(given, "workers").text == "none is running"
        JobStore.from_settings(given).announce(WorkerStatus(id="w", queues=("tiny-sd15",)), 60)
        assert found(given, "workers").text == "none has tiny-sd15 warm"


def test_a_folder_for_pictures_that_cannot_be_written(redis: RedisProcess, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    given = settings(redis, tmp_path, blob_url=f"file:{tmp_path / 'file' / 'blobs'}")
    assert_fault(found(given, "blobs"), "", "make the folder writable")


def test_a_bucket_that_is_not_there(
    redis: RedisProcess, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    given = settings(redis, tmp_path, blob_url="s3://pictures-of-mine/here", s3_endpoint_url=s3)
    assert_fault(found(given, "blobs"), "no such bucket", "python -m deploy.compose.make_bucket")
    assert make_bucket(given) == make_bucket(given) == "pictures-of-mine"
    assert found(given, "blobs").level == "ok"
    assert [bucket["Name"] for bucket in boto3.client("s3", endpoint_url=s3).list_buckets()["Buckets"]]


def test_a_bucket_is_made_on_s3_only(redis: RedisProcess, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="not s3://"):
        make_bucket(settings(redis, tmp_path))


def test_an_s3_server_that_is_not_there(redis: RedisProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    given = settings(redis, tmp_path, blob_url="s3://b", s3_endpoint_url="http://127.0.0.1:1")
    assert_fault(found(given, "blobs"), "does not answer", "STYLIZE_S3_ENDPOINT_URL")


def test_a_disk_nearly_full(redis: RedisProcess, tmp_path: Path) -> None:
    given = settings(redis, tmp_path)
    findings = list(checks.disks(given, lambda _: (100 * GIGABYTE, 99 * GIGABYTE, GIGABYTE)))
    assert len(findings) == 2
    for finding in findings:
        assert_fault(finding, "1 GB free", "free some room")


@pytest.mark.parametrize(
    ("models", "text", "advice"),
    [
        ((), "names no base model", "such as sd15"),
        (("sd51",), "no model named 'sd51'", "stylize models list"),
        (("sd15",), "sd15 is missing", "stylize models pull sd15"),
    ],
)
def test_models(redis: RedisProcess, tmp_path: Path, models: tuple[str, ...], text: str, advice: str) -> None:
    assert_fault(found(settings(redis, tmp_path, models=models), "models"), text, advice)


@pytest.mark.parametrize(
    ("script", "device", "text", "advice"),
    [
        (None, "cuda", "is not there", "install NVIDIA's driver"),
        (
            "echo NVIDIA-SMI has failed because it could not communicate; exit 9",
            "cuda",
            "has failed",
            "load the driver",
        ),
        ("exit 0", "cuda:0", "shows no GPU", "load the driver"),
        ("echo NVIDIA H100, 570.1, 80000 MiB", "cuda:1", "no more than cuda:0", "correct STYLIZE_WORKER_DEVICE"),
    ],
)
def test_gpus(tmp_path: Path, script: str | None, device: str, text: str, advice: str) -> None:
    smi = program(tmp_path, script) if script else str(tmp_path / "none")
    [finding] = checks.gpu(device, smi)
    assert_fault(finding, text, advice)


def test_a_driver_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "DRIVER_SECONDS", 0.2)
    [finding] = checks.gpu("cuda", program(tmp_path, "exec sleep 30"))
    assert_fault(finding, "the driver does not answer", "restart the host")


def test_no_gpu_is_no_fault_unless_asked_for(tmp_path: Path) -> None:
    [finding] = checks.gpu("auto", str(tmp_path / "none"))
    assert finding.level == "warning"
    [finding] = checks.gpu("auto", program(tmp_path, "echo NVIDIA H100, 570.1, 80000 MiB"))
    assert (finding.level, finding.text) == ("ok", "NVIDIA H100, 570.1, 80000 MiB")


def command(**environ: str) -> subprocess.CompletedProcess[str]:
    program = (sys.executable, "-m", "app.cli.main", "doctor")
    return subprocess.run(program, env={**os.environ, **environ}, capture_output=True, text=True, check=False)


def test_the_command_ends_with_1_and_says_what_to_do(tmp_path: Path) -> None:
    done = command(STYLIZE_REDIS_URL=f"unix://{tmp_path}/none.sock", STYLIZE_BLOB_URL=f"file:{tmp_path}/blobs")
    assert done.returncode == 1
    assert "fault   redis" in done.stdout
    assert "-> start Redis" in done.stdout


def test_a_wrong_setting_is_a_finding() -> None:
    done = command(STYLIZE_REDDIS_URL="redis://redis")
    assert done.returncode == 1
    assert "unknown setting STYLIZE_REDDIS_URL" in done.stdout
