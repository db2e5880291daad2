"""What the denoise loop learns through the beat, on a real store."""

from collections.abc import Iterator

import pytest

from tests.integration.conftest import new_job
from tests.support.service import until
from workers.contract.jobs.models import Job, Progress, State
from workers.contract.jobs.results import Claim
from workers.contract.jobs.store import JobStore
from workers.worker.running_job import GivenBack, JobCanceledByCaller, Lost, RunningJob
from workers.worker.threads.heartbeat import Heartbeat

STEP = Progress(stage="denoise", step=1, steps=2, fraction=0.5)


@pytest.fixture
def beat(store: JobStore) -> Iterator[Heartbeat]:
    thread = Heartbeat(store, lease_seconds=0.3, period=0.02)
    thread.start()
    yield thread
    thread.end()
    thread.join()


def claimed(store: JobStore) -> Claim:
    store.submit(new_job())
    claim = store.claim("sd15", "worker")
    assert claim is not None
    return claim


def stopped_by(running: RunningJob) -> type[BaseException]:
    until(lambda: running.reason is not None, "the beat brings a reason")
    with pytest.raises(Exception) as raised:
        running.report(STEP)
    return raised.type


def test_a_beat_keeps_the_lease_and_writes_progress(store: JobStore, beat: Heartbeat) -> None:
    claim = claimed(store)
    with beat.hold(claim) as running:
        running.report(STEP)
        until(lambda: _job(store, claim).progress == STEP, "the progress is written")
        first = _job(store, claim).lease_until
        until(lambda: _job(store, claim).lease_until != first, "the lease is renewed")
        running.check()


def test_a_canceled_job_stops_at_its_next_step(store: JobStore, beat: Heartbeat) -> None:
    claim = claimed(store)
    with beat.hold(claim) as running:
        store.cancel(claim.job.id)
        assert stopped_by(running) is JobCanceledByCaller


def test_a_job_given_to_another_worker_is_lost(store: JobStore, beat: Heartbeat) -> None:
    claim = claimed(store)
    store.release(claim)
    again = store.claim("sd15", "another")
    assert again is not None
    with beat.hold(claim) as running:
        assert stopped_by(running) is Lost
    assert _job(store, claim).state is State.RUNNING


def test_the_first_reason_stays(store: JobStore) -> None:
    running = RunningJob(claimed(store))
    running.stop(JobCanceledByCaller)
    running.stop(GivenBack)
    with pytest.raises(JobCanceledByCaller):
        running.check()


def test_a_job_let_go_is_held_no_more(store: JobStore, beat: Heartbeat) -> None:
    with beat.hold(claimed(store)) as running:
        assert beat.held == (running,)
    assert beat.held == ()


def _job(store: JobStore, claim: Claim) -> Job:
    job = store.get(claim.job.id)
    assert job is not None
    return job
