"""Workers that die, hang, freeze, lose their device or their clock, at named points (F1, F3, F7, F9, F10)."""

import signal

import pytest

from tests.faults.harness.stack import Stack
from tests.support.service import PATIENCE, until

pytestmark = pytest.mark.xdist_group("workers")


@pytest.mark.parametrize("point", ["claimed", "step2", "stored"])
def test_killed_before_the_commit_it_is_done_again(fake: Stack, point: str) -> None:
    job_id = fake.post(f"a house kill@{point}*1")
    fake.succeeded(job_id, attempts=2)


def test_killed_after_the_commit_it_is_done(fake: Stack) -> None:
    fake.succeeded(fake.post("a house kill@committed*1"), attempts=1)


@pytest.mark.parametrize("point", ["step2", "stored"])
def test_a_zombie_publishes_nothing(fake: Stack, point: str) -> None:
    processes, job_id = fake.worker_processes(), fake.post(f"a tree freeze@{point}*1")
    zombie = fake.first_claimer(job_id)
    name = next(child.name for child in fake.workers if child.process is processes[zombie])
    job = fake.succeeded(job_id, attempts=2)
    processes[zombie].send_signal(signal.SIGCONT)
    until(lambda: zombie_spoke(fake, name.replace(" ", "-")), "the zombie is idle again")
    assert fake.record(job_id) == job


def zombie_spoke(fake: Stack, name: str) -> bool:
    return any(worker.id == name and worker.job_id is None for worker in fake.store.workers())


@pytest.mark.parametrize("direction", ["forward", "back"])
def test_a_clock_that_jumps_an_hour_changes_nothing(fake: Stack, direction: str) -> None:
    jumped = fake.post(f"a clock {direction}@step2*1")
    fake.succeeded(jumped, attempts=1)
    for seed in range(4):
        fake.succeeded(fake.post("a house", seed=seed), attempts=1)


def test_a_hung_step_costs_its_worker(fake: Stack) -> None:
    fake.succeeded(fake.post("a house hang@step2*1"), attempts=2)


def test_a_lost_device_costs_its_worker_but_no_lease(fake: Stack) -> None:
    processes, job_id = fake.worker_processes(), fake.post("a house sticky@step2*1")
    fake.succeeded(job_id, attempts=2)
    assert processes[fake.first_claimer(job_id)].wait(PATIENCE) == 72


def test_what_does_not_fit_alone_is_refused(fake: Stack) -> None:
    job_id = fake.post("a house oom@step1*9")
    assert fake.finished(job_id)["error"]["code"] == "out-of-memory"
    assert fake.record(job_id).attempts == 1
