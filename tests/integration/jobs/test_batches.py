"""Jobs that may share a batch are claimed together, and nobody is passed over for it."""

from tests.integration.conftest import new_job
from workers.contract.jobs.models import Job, Priority
from workers.contract.jobs.record import batch_key
from workers.contract.jobs.store import JobStore

QUEUE, WORKER = "sd15", "worker"


def sized(side: int, *, owner: str = "ann", priority: Priority = "interactive") -> Job:
    job = new_job(owner=owner, priority=priority)
    return job.model_copy(update={"request": job.request.model_copy(update={"width": side})})


def test_the_next_job_is_given_when_it_is_of_the_company(store: JobStore) -> None:
    first, second = (store.submit(sized(64)).job for _ in range(2))
    assert _claimed(store, "") == first.id
    assert _claimed(store, batch_key(first.request)) == second.id
    assert _claimed(store, batch_key(first.request)) is None


def test_a_job_of_another_size_ends_the_batch_and_keeps_its_turn(store: JobStore) -> None:
    first = store.submit(sized(64)).job
    other = store.submit(sized(128)).job
    third = store.submit(sized(64)).job
    key = batch_key(first.request)
    assert _claimed(store, "") == first.id
    assert _claimed(store, key) is None
    assert _claimed(store, "") == other.id
    assert _claimed(store, key) == third.id


def test_batch_work_of_the_batch_waits_for_interactive_work(store: JobStore) -> None:
    first = store.submit(sized(64)).job
    store.submit(sized(64, priority="batch"))
    urgent = store.submit(sized(128, owner="bob")).job
    assert _claimed(store, "") == first.id
    assert _claimed(store, batch_key(first.request)) is None
    assert _claimed(store, "") == urgent.id


def _claimed(store: JobStore, key: str) -> str | None:
    claim = store.claim(QUEUE, WORKER, key)
    return claim.job.id if claim else None
