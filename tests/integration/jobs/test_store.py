"""What the model test cannot show: real time, real threads, a Redis that dies, is full, or is set up wrongly."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from deploy.embedded.redis import RedisProcess
from tests.integration.conftest import new_job
from tests.support.service import until
from workers.contract.errors import IdempotencyConflict, Misconfigured, QueueFull, StoreUnavailable
from workers.contract.jobs.models import Failure, Progress, Result, State
from workers.contract.jobs.results import Claim, WorkerStatus
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect
from workers.contract.runtime.settings import Settings

RESULT = Result(images=(), gpu_seconds=1.5)


def claimed(store: JobStore, worker: str = "w1") -> Claim:
    claim = store.claim("sd15", worker)
    assert claim is not None
    return claim


def test_a_job_goes_through(store: JobStore) -> None:
    new = new_job(styles=("a" * 64,))
    submitted = store.submit(new)
    assert submitted.job == store.get(new.id)
    assert submitted.estimate == store.estimate(submitted.job)
    assert submitted.created
    assert submitted.job.state is State.QUEUED
    assert submitted.job.request == new.request
    claim = claimed(store)
    progress = Progress(stage="denoise", step=1, steps=2, fraction=0.5)
    assert store.beat(claim, progress).held
    running = store.get(new.id)
    assert running is not None
    assert (running.state, running.worker, running.progress) == (State.RUNNING, "w1", progress)
    assert store.commit(claim, RESULT)
    done = store.get(new.id)
    assert done is not None
    assert (done.state, done.result, done.lease_until) == (State.SUCCEEDED, RESULT, None)
    assert done.created_at <= (done.started_at or done.created_at) <= (done.finished_at or done.created_at)
    assert store.cancel(new.id) == done


def test_two_hundred_equal_submissions_at_once_make_one_job(store: JobStore) -> None:
    def submit(_: int) -> tuple[str, bool]:
        submission = store.submit(new_job(idempotency_key="once"))
        return submission.job.id, submission.created

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(submit, range(200)))
    assert len({job_id for job_id, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1
    with pytest.raises(IdempotencyConflict):
        store.submit(new_job(idempotency_key="once", digest="1" * 64))
    assert store.submit(new_job(idempotency_key="once", owner="bob")).created


def test_a_submission_sent_twice_is_one_job(store: JobStore) -> None:
    new = new_job()
    assert store.submit(new).created
    assert store.submit(new).created
    assert len(store.page().jobs) == 1
    with pytest.raises(IdempotencyConflict):
        store.submit(new_job(new.id, owner="bob"))


def test_no_job_is_claimed_twice(redis: Redis) -> None:
    store = JobStore(redis, prefix=f"{secrets.token_hex(4)}:")
    for _ in range(60):
        store.submit(new_job())

    def drain(worker: str) -> list[str]:
        found = []
        while claim := store.claim("sd15", worker):
            found.append(claim.job.id)
        return found

    with ThreadPoolExecutor(4) as pool:
        claims = [job_id for found in pool.map(drain, ("w1", "w2", "w3", "w4")) for job_id in found]
    assert len(claims) == len(set(claims)) == 60


def test_a_silent_worker_loses_its_job_by_the_clock_of_redis(redis: Redis) -> None:
    store = JobStore(redis, lease_seconds=0.3, prefix=f"{secrets.token_hex(4)}:")
    job_id = store.submit(new_job()).job.id
    first = claimed(store)
    time.sleep(0.35)  # the lease of 0.3 s ends
    swept = store.sweep()
    assert swept.expired == 1
    assert [wake.job_id for wake in swept.wake] == [job_id]
    second = claimed(store, "w2")
    assert second.token == first.token + 1
    assert not store.beat(first).held
    assert not store.commit(first, RESULT)
    assert store.commit(second, RESULT)


def test_two_sweepers_at_once_do_each_thing_once(redis: Redis) -> None:
    now = [1_700_000_000_000]
    store = JobStore(redis, prefix=f"{secrets.token_hex(4)}:", clock=lambda: now[0])
    for _ in range(40):
        store.submit(new_job())
        claimed(store)
    now[0] += 30_000
    with ThreadPoolExecutor(2) as pool:
        swept = list(pool.map(lambda _: store.sweep(), range(2)))
    assert sum(sweep.expired for sweep in swept) == 40
    woken = [wake.job_id for sweep in swept for wake in sweep.wake]
    assert len(woken) == len(set(woken)) == 40


def test_a_full_queue_says_when_to_come_again(redis: Redis) -> None:
    store = JobStore(redis, max_queued=2, prefix=f"{secrets.token_hex(4)}:")
    for _ in range(2):
        store.submit(new_job())
    with pytest.raises(QueueFull) as full:
        store.submit(new_job())
    assert full.value.retry_after == 60
    for _ in range(2):
        store.commit(claimed(store), RESULT)
        store.submit(new_job())
    with pytest.raises(QueueFull) as full:
        store.submit(new_job())
    assert full.value.retry_after == 30


def test_pages_go_through_all_jobs_of_an_owner(store: JobStore) -> None:
    mine = [store.submit(new_job(owner="ann")).job.id for _ in range(5)]
    store.submit(new_job(owner="bob"))
    assert store.cancel(mine[2], "ann") is not None
    assert store.cancel(mine[2], "bob") is None
    seen, cursor = [], None
    for _ in range(3):
        page = store.page(owner="ann", limit=2, cursor=cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.cursor
    assert seen == mine[::-1]
    assert cursor is None
    assert [job.id for job in store.page(owner="ann", state=State.CANCELED).jobs] == [mine[2]]
    assert len(store.page(cursor="nonsense").jobs) == 6


def test_workers_are_known_while_they_speak(store: JobStore) -> None:
    status = WorkerStatus(id="w1", queues=("sd15",), models=("sd15",), state="idle")
    store.announce(status, 60)
    store.announce(WorkerStatus(id="w0", queues=("sd15",)), 60)
    first, second = store.workers()
    assert first.id == "w0"
    assert second.model_copy(update={"seen": None}) == status
    assert second.seen is not None
    store.announce(status, 0.1)
    until(lambda: [known.id for known in store.workers()] == ["w0"], "the silent one is forgotten")


def test_a_killed_redis_comes_back_with_every_job(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis") as child, connect(child.url) as redis:
        store = JobStore(redis)
        store.verify()
        ids = [store.submit(new_job()).job.id for _ in range(5)]
        claim = claimed(store)
        child.kill()
        for verb in (lambda: store.submit(new_job()), lambda: store.get(ids[0]), lambda: store.beat(claim)):
            with pytest.raises(StoreUnavailable):
                verb()
        child.start()
        assert store.commit(claim, RESULT)
        assert [job.id for job in store.page().jobs] == ids[::-1]
        assert claimed(store).job.id == ids[1]


def test_a_full_redis_takes_no_job_but_finishes_those_it_has(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis") as child, connect(child.url) as redis:
        store = JobStore(redis)
        for _ in range(5):
            store.submit(new_job())
        held = claimed(store)
        redis.config_set("maxmemory", 1)
        with pytest.raises(QueueFull):
            store.submit(new_job())
        assert store.beat(held, Progress(stage="denoise")).held
        assert store.commit(held, RESULT)
        assert store.fail(claimed(store), Failure(code="internal", detail="broke"), retry=True)
        assert store.release(claimed(store))
        canceled = store.cancel(claimed(store).job.id)
        assert canceled is not None
        assert canceled.state is State.CANCELING
        store.sweep()
        store.announce(WorkerStatus(id="w1", queues=("sd15",)), 60)
        redis.config_set("maxmemory", 0)
        assert store.submit(new_job()).created


def test_a_read_only_redis_is_unavailable(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis") as child, connect(child.url) as redis:
        store = JobStore(redis)
        redis.replicaof("127.0.0.1", 1)
        with pytest.raises(StoreUnavailable):
            store.submit(new_job())
        redis.replicaof("NO", "ONE")
        assert store.submit(new_job()).created


def test_a_redis_that_may_lose_jobs_is_refused(tmp_path: Path) -> None:
    careless = ("--appendonly", "no", "--maxmemory-policy", "allkeys-lru")
    with RedisProcess(tmp_path / "redis", *careless) as child:
        with pytest.raises(Misconfigured, match="maxmemory-policy noeviction, appendonly yes"):
            JobStore.from_settings(Settings(redis_url=child.url)).verify()
        JobStore.from_settings(Settings(redis_url=child.url, redis_allow_volatile=True)).verify()


def test_an_impossible_address_is_refused() -> None:
    with pytest.raises(Misconfigured, match="STYLIZE_REDIS_URL"):
        JobStore.from_settings(Settings(redis_url="http://nowhere"))


def test_the_census_counts_what_became_of_the_jobs(redis: Redis) -> None:
    now = [1_700_000_000_000]
    store = JobStore(redis, prefix=f"{secrets.token_hex(4)}:", lease_seconds=1, max_attempts=2, clock=lambda: now[0])
    for _ in range(4):
        store.submit(new_job())
    done, refused = store.claim("sd15", "w1"), store.claim("sd15", "w1")
    assert done is not None
    assert refused is not None
    assert store.commit(done, Result(images=()))
    assert store.fail(refused, Failure(code="out-of-memory", detail="too large"), retry=False)
    for _ in range(2):
        assert store.claim("sd15", "w1") is not None
        now[0] += 1000
        store.sweep()
    queue_stats = store.queue_stats()
    assert queue_stats.finished == {
        ("signal-leak", "succeeded", "none"): 1,
        ("signal-leak", "failed", "out-of-memory"): 1,
        ("signal-leak", "failed", "poison"): 1,
    }
    assert (queue_stats.lost, queue_stats.redelivered) == (2, 1)
    store.cancel(next(job.id for job in store.page(state=State.QUEUED).jobs))
    assert store.queue_stats().finished["signal-leak", "canceled", "none"] == 1


def test_the_memory_of_redis(store: JobStore) -> None:
    memory = store.memory()
    assert memory.used > 0
    assert memory.limit == 0
