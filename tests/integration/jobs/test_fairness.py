"""No owner can keep the others waiting."""

import pytest

from tests.integration.conftest import new_job
from workers.contract.errors import TooManyActive
from workers.contract.jobs.models import Result
from workers.contract.jobs.store import JobStore


def owners(store: JobStore, count: int) -> list[str]:
    """Return whose jobs the next claims are."""
    return [claim.job.owner for _ in range(count) if (claim := store.claim("sd15", "w"))]


def test_one_of_another_owner_starts_before_two_hundred(store: JobStore) -> None:
    for _ in range(200):
        store.submit(new_job(owner="ann"))
    assert owners(store, 3) == ["ann"] * 3
    bob = store.submit(new_job(owner="bob")).job
    assert store.position(bob) == 0
    assert owners(store, 3) == ["bob", "ann", "ann"]
    store.submit(new_job(owner="bob"))
    assert owners(store, 2) == ["bob", "ann"], "ann was served after bob"


def test_who_comes_again_and_again_does_not_keep_out_who_waits(store: JobStore) -> None:
    for _ in range(20):
        store.submit(new_job(owner="ann"))
    served = []
    for _ in range(10):
        store.submit(new_job(owner="bob"))
        served += owners(store, 1)
    assert served.count("ann") == served.count("bob") == 5


def test_new_owners_are_served_as_they_came(store: JobStore) -> None:
    names = ["zoe", "ann", "mia"]
    for name in names:
        store.submit(new_job(owner=name))
    assert owners(store, 3) == names


def test_unfinished_jobs_of_an_owner_are_bounded(store: JobStore) -> None:
    first, second = (store.submit(new_job(owner="ann"), max_active=2).job for _ in range(2))
    with pytest.raises(TooManyActive):
        store.submit(new_job(owner="ann"), max_active=2)
    assert store.submit(new_job(owner="bob"), max_active=2).created
    claim = store.claim("sd15", "w")
    assert claim is not None
    assert claim.job.id == first.id
    with pytest.raises(TooManyActive):
        store.submit(new_job(owner="ann"), max_active=2)
    assert store.commit(claim, Result(images=()))
    third = store.submit(new_job(owner="ann"), max_active=2).job
    store.cancel(second.id)
    store.cancel(third.id)
    assert all(store.submit(new_job(owner="ann"), max_active=2).created for _ in range(2))


def test_the_first_job_is_found_again_although_there_are_too_many(store: JobStore) -> None:
    new = new_job(owner="ann", idempotency_key="k")
    assert store.submit(new, max_active=1).created
    assert not store.submit(new_job(owner="ann", idempotency_key="k"), max_active=1).created
