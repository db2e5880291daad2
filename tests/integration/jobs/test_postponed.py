"""A job whose pictures cannot be read or stored is put behind the others, and not for ever."""

import secrets

import pytest
from redis import Redis

from tests.integration.conftest import new_job
from workers.contract.jobs.models import Failure, Job, Result, State
from workers.contract.jobs.store import JobStore

BLOB = Failure(code="blob", detail="the job's pictures could not be read")


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis, max_attempts=3, max_deferrals=4, prefix=f"{secrets.token_hex(4)}:")


def put_off(store: JobStore, *, counted: bool) -> Job:
    """Claim the next job and put it off; return it as it was claimed."""
    claim = store.claim("sd15", "w")
    assert claim is not None
    assert store.postpone(claim, BLOB, counted=counted)
    return claim.job


@pytest.mark.parametrize("counted", [True, False])
def test_a_job_that_is_put_off_is_behind_its_owners_others(store: JobStore, counted: bool) -> None:
    bad, *others = [store.submit(new_job()).job for _ in range(4)]
    assert put_off(store, counted=counted).id == bad.id
    assert store.position(bad) == 3
    for other in others:
        claim = store.claim("sd15", "w")
        assert claim is not None
        assert claim.job.id == other.id
        assert store.commit(claim, Result(images=()))
    assert put_off(store, counted=counted).id == bad.id
    assert [job.id for job in store.page().jobs] == [job.id for job in (*others[::-1], bad)], "pages keep their order"


def test_a_job_that_was_refused_fails_after_its_attempts(store: JobStore) -> None:
    bad = store.submit(new_job()).job
    assert [put_off(store, counted=True).attempts for _ in range(3)] == [1, 2, 3]
    failed = store.get(bad.id)
    assert failed is not None
    assert (failed.state, failed.failure, failed.attempts) == (State.FAILED, BLOB, 3)


def test_a_job_is_put_off_so_often_while_the_blobs_are_away_and_then_fails(store: JobStore) -> None:
    bad = store.submit(new_job()).job
    assert [put_off(store, counted=False).attempts for _ in range(5)] == [1] * 5
    failed = store.get(bad.id)
    assert failed is not None
    assert (failed.state, failed.failure) == (State.FAILED, BLOB)


def test_what_is_being_canceled_is_not_put_off(store: JobStore) -> None:
    for counted in (True, False):
        claim = store.claim("sd15", "w") if store.submit(new_job()) else None
        assert claim is not None
        store.cancel(claim.job.id)
        assert not store.postpone(claim, BLOB, counted=counted)
        canceled = store.get(claim.job.id)
        assert canceled is not None
        assert canceled.state is State.CANCELED


def test_a_full_redis_lets_a_job_be_put_off(store: JobStore, redis: Redis) -> None:
    for _ in range(2):
        store.submit(new_job())
    try:
        redis.config_set("maxmemory", 1)
        for counted in (True, False):
            put_off(store, counted=counted)
    finally:
        redis.config_set("maxmemory", 0)
