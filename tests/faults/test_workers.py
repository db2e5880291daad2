"""Workers that die, hang, freeze, lose their device or their clock, at named points (F1, F3, F7, F9, F10)."""

import signal
import time
from collections.abc import Iterator

import pytest

from tests.faults.fake import expected_sha256
from tests.faults.stack import LEASE, Stack, stack
from tests.service import kill, until
from workers.contract.job import Job

pytestmark = pytest.mark.xdist_group("workers")
STEP_TIMEOUT = 6.0


@pytest.fixture(scope="module")
def started() -> Iterator[Stack]:
    with stack(workers=2) as running:
        yield running


@pytest.fixture
def running(started: Stack) -> Stack:
    started.await_workers()
    return started


def succeeded(running: Stack, job_id: str, *, attempts: int) -> Job:
    """Return the job, which must have ended well after so many attempts, with the right picture, published once."""
    assert running.finished(job_id)["state"] == "succeeded"
    job = running.record(job_id)
    assert job.result is not None
    assert job.attempts == attempts
    assert job.result.images[0].sha256 == expected_sha256(job, job.request.seed)
    commits = {
        line["token"] for line in running.journal.read() if (line["job"], line["event"]) == (job_id, "committed")
    }
    assert commits <= {job.token}
    return job


@pytest.mark.parametrize("point", ["claimed", "step2", "stored"])
def test_killed_before_the_commit_it_is_done_again(running: Stack, point: str) -> None:
    job_id = running.post(f"a house kill@{point}*1")
    succeeded(running, job_id, attempts=2)


def test_killed_after_the_commit_it_is_done(running: Stack) -> None:
    succeeded(running, running.post("a house kill@committed*1"), attempts=1)


@pytest.mark.parametrize("point", ["step2", "stored"])
def test_a_zombie_publishes_nothing(running: Stack, point: str) -> None:
    job_id = running.post(f"a tree freeze@{point}*1")
    until(lambda: running.record(job_id).state == "running", "it is claimed")
    zombie = running.worker_of(job_id)
    job = succeeded(running, job_id, attempts=2)
    kill(zombie, signal.SIGCONT)
    until(lambda: zombie_spoke(running, zombie.name.replace(" ", "-")), "the zombie is idle again")
    assert running.record(job_id) == job


def zombie_spoke(running: Stack, name: str) -> bool:
    return any(worker.id == name and worker.job_id is None for worker in running.store.workers())


@pytest.mark.parametrize("direction", ["forward", "back"])
def test_a_clock_that_jumps_an_hour_changes_nothing(running: Stack, direction: str) -> None:
    jumped = running.post(f"a clock {direction}@step2*1")
    succeeded(running, jumped, attempts=1)
    for seed in range(4):
        succeeded(running, running.post("a house", seed=seed), attempts=1)


def test_a_hung_step_costs_its_worker(running: Stack) -> None:
    began = time.monotonic()
    succeeded(running, running.post("a house hang@step2*1"), attempts=2)
    assert time.monotonic() - began < STEP_TIMEOUT + LEASE + 10


def test_a_lost_device_costs_its_worker_but_no_lease(running: Stack) -> None:
    job_id = running.post("a house sticky@step2*1")
    until(lambda: running.record(job_id).state == "running", "it is claimed")
    victim = running.worker_of(job_id).process
    assert victim is not None
    succeeded(running, job_id, attempts=2)
    assert victim.wait(10) == 72


def test_what_does_not_fit_alone_is_refused(running: Stack) -> None:
    job_id = running.post("a house oom@step1*9")
    assert running.finished(job_id)["error"]["code"] == "out-of-memory"
    assert running.record(job_id).attempts == 1
