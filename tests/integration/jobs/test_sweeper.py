"""The sweeper: as an object over real stores, and as the process it is."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis

from deploy.embedded.redis import RedisProcess
from tests.integration.conftest import new_job
from tests.support.faulty_s3 import FaultyS3, Rule
from tests.support.service import PATIENCE, until
from workers.contract.blobs import BlobStore, input_name, manifest_name, open_blobs, output_name
from workers.contract.jobs.models import Result, State
from workers.contract.jobs.store import JobStore
from workers.contract.queue.notifier import WorkerNotifier
from workers.contract.runtime.redis import connect
from workers.contract.runtime.settings import Settings
from workers.sweeper import Sweeper

ROOT = Path(__file__).parents[3]
NOTHING = Result(images=())


def run_one(store: JobStore, blobs: BlobStore, *, tokens: int = 1, styles: tuple[str, ...] = ()) -> str:
    """Run a job whose last attempt of `tokens` commits; every attempt writes its outputs."""
    job_id = store.submit(new_job(styles=styles)).job.id
    for token in range(1, tokens + 1):
        claim = store.claim("sd15", "w1")
        assert claim is not None
        assert claim.token == token
        blobs.put(output_name(job_id, token, 0, "png"), b"picture", content_type="image/png")
        blobs.put(manifest_name(job_id, token), b"{}", content_type="application/json")
        assert store.commit(claim, NOTHING) if token == tokens else store.release(claim)
    return job_id


def names(blobs: BlobStore, prefix: str) -> set[str]:
    return {stored.name for stored in blobs.list(prefix)}


@pytest.fixture
def bell(redis_child: RedisProcess) -> Iterator[WorkerNotifier]:
    bell = WorkerNotifier(redis_child.url, connect(redis_child.url))
    yield bell
    bell.close(PATIENCE)


def test_the_blobs_of_forgotten_jobs_go(redis: Redis, blobs: BlobStore, bell: WorkerNotifier) -> None:
    now = [1_700_000_000_000]
    store = JobStore(redis, prefix=f"{os.urandom(4).hex()}:", retention_seconds=60, clock=lambda: now[0])
    sweeper = Sweeper(store, blobs, bell, retention=timedelta(seconds=60))
    old = run_one(store, blobs, tokens=2)
    now[0] += 30_000
    young = run_one(store, blobs)
    now[0] += 30_000
    sweeper.sweep()
    assert store.get(old) is None
    assert names(blobs, "jobs/") == {output_name(young, 1, 0, "png"), manifest_name(young, 1)}


def test_blobs_that_no_job_names_go_once_they_are_old(store: JobStore, blobs: BlobStore, bell: WorkerNotifier) -> None:
    used, unused = "a" * 64, "b" * 64
    for sha256 in (used, unused):
        blobs.put(input_name(sha256), b"picture", content_type="image/png")
    done = run_one(store, blobs, tokens=2, styles=(used,))
    blobs.put(output_name("forgotten", 1, 0, "png"), b"picture", content_type="image/png")
    patient = Sweeper(store, blobs, bell, retention=timedelta(hours=1))
    assert patient.collect_orphans() == 0
    strict = Sweeper(store, blobs, bell, retention=timedelta(seconds=-2))
    assert strict.collect_orphans() == 4
    assert names(blobs, "jobs/") == {output_name(done, 2, 0, "png"), manifest_name(done, 2)}
    assert names(blobs, "inputs/") == {input_name(used)}
    assert strict.collect_orphans() == 0


def test_blobs_that_no_job_names_go_after_a_day_however_long_jobs_are_kept(
    store: JobStore, bell: WorkerNotifier, tmp_path: Path
) -> None:
    blobs = open_blobs(Settings(blob_url=f"file:{tmp_path}"))
    for sha256, age in (("a" * 64, 23), ("b" * 64, 25)):
        blobs.put(input_name(sha256), b"picture", content_type="image/png")
        then = time.time() - age * 3600
        os.utime(tmp_path / input_name(sha256), (then, then))
    assert Sweeper(store, blobs, bell, retention=timedelta(days=365)).collect_orphans() == 1
    assert names(blobs, "inputs/") == {input_name("a" * 64)}


def test_a_blob_that_the_store_refuses_to_delete_keeps_no_other(
    redis: Redis, faulty: FaultyS3, s3_settings: Settings, bell: WorkerNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_700_000_000_000]
    store = JobStore(redis, prefix=f"{os.urandom(4).hex()}:", retention_seconds=60, clock=lambda: now[0])
    blobs = open_blobs(s3_settings.model_copy(update={"s3_endpoint_url": faulty.url}))
    strict = Sweeper(store, blobs, bell, retention=timedelta(seconds=-2))
    locked = output_name(run_one(store, blobs), 1, 0, "png")
    run_one(store, blobs)
    now[0] += 60_000
    with faulty.refusing(Rule(("POST",), "delete"), Rule(("DELETE",), locked)):
        strict.sweep()
        assert names(blobs, "jobs/") == {locked}
        monkeypatch.setattr("workers.sweeper.BATCH", 1)
        for orphan in (output_name("0", 1, 0, "png"), output_name("zzz", 1, 0, "png"), input_name("b" * 64)):
            blobs.put(orphan, b"picture", content_type="image/png")
        strict.collect_orphans()
        assert names(blobs, "jobs/") | names(blobs, "inputs/") == {locked}


def test_a_running_attempt_keeps_its_blobs(store: JobStore, blobs: BlobStore, bell: WorkerNotifier) -> None:
    job_id = store.submit(new_job()).job.id
    assert store.claim("sd15", "w1") is not None
    blobs.put(output_name(job_id, 1, 0, "png"), b"picture", content_type="image/png")
    assert Sweeper(store, blobs, bell, retention=timedelta(seconds=-2)).collect_orphans() == 0


@contextmanager
def running(tmp_path: Path, redis_url: str, *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    environ = {
        **os.environ,
        "STYLIZE_REDIS_URL": redis_url,
        "STYLIZE_BLOB_URL": f"file:{tmp_path / 'blobs'}",
        "STYLIZE_LEASE_SECONDS": "0.5",
        "STYLIZE_SWEEPER_PERIOD_SECONDS": "0.1",
        **more,
    }
    command = (sys.executable, "-m", "workers.sweeper", *arguments)
    with subprocess.Popen(
        command, env=environ, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_process_heals_across_a_redis_restart_and_ends_when_asked(tmp_path: Path) -> None:
    with (
        RedisProcess(tmp_path / "redis") as child,
        connect(child.url) as redis,
        running(tmp_path, child.url) as process,
    ):
        store = JobStore(redis, lease_seconds=0.5)
        job_id = store.submit(new_job()).job.id
        assert store.claim("sd15", "w1") is not None
        until(lambda: redis.llen("sd15.interactive") == 1, "the job is woken")
        child.kill()
        time.sleep(0.3)
        child.start()
        redis.delete("sd15.interactive")
        until(lambda: redis.llen("sd15.interactive") >= 1, "it is woken again")
        job = store.get(job_id)
        assert job is not None
        assert (job.state, job.attempts) == (State.QUEUED, 1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_wrong_settings_are_one_line(tmp_path: Path) -> None:
    with running(tmp_path, "unix:///nowhere", STYLIZE_SWEEPER_PEROID_SECONDS="1") as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert errors == (
        "sweeper: unknown setting STYLIZE_SWEEPER_PEROID_SECONDS (did you mean STYLIZE_SWEEPER_PERIOD_SECONDS?)\n"
    )


def test_help_names_every_setting(tmp_path: Path) -> None:
    with running(tmp_path, "unix:///nowhere", "--help") as process:
        text, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "STYLIZE_SWEEPER_PERIOD_SECONDS" in text
