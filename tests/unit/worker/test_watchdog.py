"""The watchdog ends the process only for want of progress."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.conftest import new_job
from tests.support.service import until
from workers.contract.jobs.models import Progress
from workers.contract.jobs.store import JobStore
from workers.worker.threads.heartbeat import Heartbeat
from workers.worker.threads.watchdog import EXIT_HUNG, EXIT_STALLED, Watchdog

QUEUE = "sd15"


@contextmanager
def watching(store: JobStore, beat: Heartbeat, *, step: float = 60.0, stall: float = 60.0) -> Iterator[list[int]]:
    exits: list[int] = []
    dog = Watchdog(store, beat, (QUEUE,), step_timeout=step, stall_timeout=stall, exit_process=exits.append)
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
        until(lambda: EXIT_HUNG in exits, "the process is replaced", patience=20)


def test_a_step_in_time_keeps_it(store: JobStore) -> None:
    beat = Heartbeat(store, lease_seconds=30)
    store.submit(new_job())
    claim = store.claim(QUEUE, "worker")
    assert claim is not None
    with beat.hold(claim) as holding, watching(store, beat, step=5.0) as exits:
        for _ in range(3):
            holding.report(Progress(stage="denoise"))
            time.sleep(0.3)
    assert not exits


def test_jobs_that_wait_beside_an_idle_worker_end_the_process(store: JobStore) -> None:
    store.submit(new_job())
    with watching(store, Heartbeat(store, lease_seconds=30), stall=0.1) as exits:
        until(lambda: EXIT_STALLED in exits, "the process is replaced", patience=20)


def test_a_job_that_comes_after_a_long_rest_has_its_time(store: JobStore) -> None:
    with watching(store, Heartbeat(store, lease_seconds=30), stall=2.0) as exits:
        time.sleep(2.6)
        store.submit(new_job())
        time.sleep(1.2)
        assert not exits
        until(lambda: EXIT_STALLED in exits, "the process is replaced", patience=20)


def test_an_idle_worker_with_nothing_to_do_stays(store: JobStore) -> None:
    store.submit(new_job(queue="another"))
    with watching(store, Heartbeat(store, lease_seconds=30), stall=0.1) as exits:
        time.sleep(1.2)
    assert not exits
