"""Who waits for a job is told of its changes, at a cost that grows with the changes, not with who waits."""

import asyncio
import functools
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from redis import Redis

from app.services import job_watch
from app.services.job_watch import JobObserver, JobWatch
from app.storage.redis_calls import RedisCalls
from deploy.embedded.redis import RedisProcess
from tests.integration.conftest import new_job
from workers.contract.jobs.models import Progress
from workers.contract.jobs.results import Claim
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect

LONG = 60.0
"""Seconds: generous, because a busy machine is no failure."""


def in_an_event_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """A Redis that no gateway asks for anything: its commands are counted."""
    with RedisProcess(tmp_path_factory.mktemp("redis")) as child:
        yield child


@pytest.fixture
def store(server: RedisProcess) -> JobStore:
    return JobStore(connect(server.url), lease_seconds=600, prefix=f"{secrets.token_hex(4)}:")


@asynccontextmanager
async def watch_of(store: JobStore) -> AsyncIterator[JobWatch]:
    calls = RedisCalls()
    watch = JobWatch(store, calls, per_caller=1000, most=1000, refresh=lambda: None)
    yield watch
    watch.close()
    calls.close()


async def settled(observer: JobObserver) -> None:
    """Wait for the news that there is a job at all."""
    assert await observer.await_change(LONG)


def submit(store: JobStore) -> str:
    return store.submit(new_job()).job.id


def claim(store: JobStore) -> Claim:
    found = store.claim("sd15", "worker")
    assert found is not None
    return found


STEP = Progress(stage="denoise", step=1, steps=2, fraction=0.5)
CHANGES: dict[str, Callable[[JobStore, Claim], object]] = {
    "progress": lambda store, held: store.beat(held, STEP),
    "release": lambda store, held: store.release(held),
    "cancel": lambda store, held: store.cancel(held.job.id),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@in_an_event_loop
async def test_a_change_is_told_without_a_look_at_the_job(
    monkeypatch: pytest.MonkeyPatch, store: JobStore, change: Callable[[JobStore, Claim], object]
) -> None:
    monkeypatch.setattr(job_watch, "LOOK_SECONDS", 1e6)
    other, job_id = submit(store), submit(store)
    claim(store)
    async with watch_of(store) as watch:
        with watch.watching(job_id, "ann") as observer, watch.watching(other, "ann") as quiet:
            await settled(observer)
            await settled(quiet)
            held = claim(store)
            assert await observer.await_change(LONG)
            change(store, held)
            assert await observer.await_change(LONG)
            assert not await quiet.await_change(0)


@in_an_event_loop
async def test_a_place_in_the_queue_is_told(monkeypatch: pytest.MonkeyPatch, store: JobStore) -> None:
    monkeypatch.setattr(job_watch, "LOOK_SECONDS", 0.1)
    submit(store)
    second = submit(store)
    async with watch_of(store) as watch:
        with watch.watching(second, "ann") as observer:
            await settled(observer)
            claim(store)
            assert await observer.await_change(LONG)


@in_an_event_loop
async def test_a_change_by_the_release_before_is_told(monkeypatch: pytest.MonkeyPatch, store: JobStore) -> None:
    """It does not write the list of changes."""
    monkeypatch.setattr(job_watch, "LOOK_SECONDS", 0.1)
    job_id = submit(store)
    redis: Any = store._redis
    async with watch_of(store) as watch:
        with watch.watching(job_id, "ann") as observer:
            await settled(observer)
            redis.hset(f"{store._prefix}job:{job_id}", "state", "running")
            assert await observer.await_change(LONG)
            redis.delete(f"{store._prefix}job:{job_id}")
            assert await observer.await_change(LONG)


@in_an_event_loop
async def test_many_who_wait_cost_redis_no_more_than_one(monkeypatch: pytest.MonkeyPatch, store: JobStore) -> None:
    """Between two looks at all jobs only the list of changes is read."""
    monkeypatch.setattr(job_watch, "LOOK_SECONDS", 1e6)
    redis: Any = store._redis
    ids = [submit(store) for _ in range(50)]
    store.cancel(submit(store))  # Redis knows the script then
    async with watch_of(store) as watch, AsyncExitStack() as waiting:
        observers = [waiting.enter_context(watch.watching(job_id, "ann")) for job_id in ids]
        for observer in observers:
            await settled(observer)
        before = calls(redis)
        for at in (7, 8):
            store.cancel(ids[at])
            assert await observers[at].await_change(LONG)
        made = {name: count - before.get(name, 0) for name, count in calls(redis).items()}
        assert made["xread"] >= 1
        assert made["evalsha"] <= 4, "the cancellations, and no look for each who waits"
        for observer in observers:
            assert not await observer.await_change(0)


def calls(redis: Redis) -> dict[str, int]:
    stats: Any = redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}
