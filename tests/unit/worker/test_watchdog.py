"""The watchdog ends the process only for want of progress."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.conftest import new_job
from tests.support.service import until
from workers.contract.jobs.models import Progress
from workers.contract.jobs.store import JobStore
from workers.worker.threads.heartbeat import Heartbeat
from workers.worker.threads.watchdog import EXIT_HUNG, EXIT_STALLED, Watchdog

QUEUE = "sd15"


class Clock:
    """The time of this process as a test sets it."""

    def __init__(self) -> None:
        self.now = time.monotonic()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    return made


def watchdog(
    store: JobStore, beat: Heartbeat, exits: list[int], *, step: float = 60.0, stall: float = 60.0
) -> Watchdog:
    return Watchdog(store, beat, (QUEUE,), step_timeout=step, stall_timeout=stall, exit_process=exits.append)


@contextmanager
def watching(store: JobStore, beat: Heartbeat, *, step: float = 60.0, stall: float = 60.0) -> Iterator[list[int]]:
    exits: list[int] = []
    dog = watchdog(store, beat, exits, step=step, stall=stall)
    dog.start()
    yield exits
    dog.end()
    dog.join()


def test_a_hung_step_ends_the_process(store: JobStore) -> None:
    beat = Heartbeat(store, lease_seconds=30)
    store.submit(new_job())
    claim = store.claim(QUEUE, "worker")
    assert claim is not None
    with beat.hold(claim), watching(store, beat, step=0.1) as exits:
        until(lambda: EXIT_HUNG in exits, "the process is replaced")


def test_a_step_in_time_keeps_it(store: JobStore, clock: Clock) -> None:
    beat = Heartbeat(store, lease_seconds=30)
    store.submit(new_job())
    claim = store.claim(QUEUE, "worker")
    assert claim is not None
    exits: list[int] = []
    dog = watchdog(store, beat, exits, step=5.0)
    with beat.hold(claim) as running:
        for _ in range(3):
            clock.now += 4.0
            dog.run_once()
            running.report(Progress(stage="denoise"))
        assert not exits
        clock.now += 6.0
        dog.run_once()
        assert exits == [EXIT_HUNG]


def test_jobs_that_wait_beside_an_idle_worker_end_the_process(store: JobStore) -> None:
    store.submit(new_job())
    with watching(store, Heartbeat(store, lease_seconds=30), stall=0.1) as exits:
        until(lambda: EXIT_STALLED in exits, "the process is replaced")


def test_a_job_that_comes_after_a_long_rest_has_its_time(store: JobStore, clock: Clock) -> None:
    exits: list[int] = []
    dog = watchdog(store, Heartbeat(store, lease_seconds=30), exits, stall=2.0)
    clock.now += 60.0
    dog.run_once()
    store.submit(new_job())
    for passed in (0.0, 1.9):
        clock.now += passed
        dog.run_once()
    assert not exits
    clock.now += 0.2
    dog.run_once()
    assert exits == [EXIT_STALLED]


def test_an_idle_worker_with_nothing_to_do_stays(store: JobStore, clock: Clock) -> None:
    store.submit(new_job(queue="another"))
    exits: list[int] = []
    dog = watchdog(store, Heartbeat(store, lease_seconds=30), exits, stall=0.1)
    for _ in range(3):
        clock.now += 1.0
        dog.run_once()
    assert not exits
