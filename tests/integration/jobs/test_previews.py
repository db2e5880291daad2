"""Previews in the store: of the holder of a running job only, the newest only, gone with the run."""

import pytest
from redis import Redis

from tests.integration.conftest import new_job
from workers.contract.errors import StoreUnavailable
from workers.contract.jobs.models import Failure, Result
from workers.contract.jobs.previews import LIFETIME_SECONDS, PreviewStore
from workers.contract.jobs.results import Claim
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect

JPEG = b"\xff\xd8\xff\xe0 not text \x00\xff"


@pytest.fixture
def previews(redis: Redis, store: JobStore) -> PreviewStore:
    return PreviewStore(redis, prefix=store._prefix)


def claimed(store: JobStore) -> Claim:
    store.submit(new_job())
    claim = store.claim("sd15", "worker")
    assert claim is not None
    return claim


def step_shown(store: JobStore, claim: Claim) -> int | None:
    job = store.get(claim.job.id)
    assert job is not None
    return job.preview


def test_the_newest_preview_is_kept(store: JobStore, previews: PreviewStore, redis: Redis) -> None:
    claim = claimed(store)
    assert previews.get(claim.job.id) is None
    before = store.versions([claim.job.id])
    assert previews.show(claim, 3, b"older")
    assert previews.show(claim, 4, JPEG)
    assert (previews.get(claim.job.id), step_shown(store, claim)) == (JPEG, 4)
    assert store.versions([claim.job.id]) != before, "who waits for the job is told"
    assert 0 < redis.pttl(f"{store._prefix}preview:{claim.job.id}") <= LIFETIME_SECONDS * 1000  # type: ignore[operator]


@pytest.mark.parametrize("verb", ["commit", "fail", "retry", "release", "cancel"])
def test_a_preview_goes_when_the_job_stops_running(store: JobStore, previews: PreviewStore, verb: str) -> None:
    claim = claimed(store)
    previews.show(claim, 1, JPEG)
    match verb:
        case "commit":
            store.commit(claim, Result(images=()))
        case "release":
            store.release(claim)
        case "cancel":
            store.cancel(claim.job.id)
            assert previews.get(claim.job.id) == JPEG, "it still runs"
            assert not previews.show(claim, 2, JPEG), "but nobody waits for it"
            store.canceled(claim)
        case _:
            store.fail(claim, Failure(code="x", detail="x"), retry=verb == "retry")
    assert (previews.get(claim.job.id), step_shown(store, claim)) == (None, None)
    assert not previews.show(claim, 2, JPEG)
    assert (previews.get(claim.job.id), step_shown(store, claim)) == (None, None)


def test_who_lost_the_job_shows_nothing(store: JobStore, previews: PreviewStore) -> None:
    stale = claimed(store)
    store.release(stale)
    fresh = store.claim("sd15", "another")
    assert fresh is not None
    assert previews.show(fresh, 1, JPEG)
    assert not previews.show(stale, 9, b"stale")
    assert (previews.get(fresh.job.id), step_shown(store, fresh)) == (JPEG, 1)


def test_without_redis_it_says_so(store: JobStore) -> None:
    claim = claimed(store)
    with pytest.raises(StoreUnavailable):
        PreviewStore(connect("redis://127.0.0.1:1/0")).show(claim, 1, JPEG)
