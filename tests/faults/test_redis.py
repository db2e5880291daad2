"""Redis killed, wiped, full, read-only; connections cut, held back, slow (F4, F5, F15)."""

import itertools
import time
from collections.abc import Callable

import httpx2
import pytest

from tests.faults.harness.proxy import Proxy
from tests.faults.harness.stack import LEASE, PATIENT, Stack, stack
from tests.support.service import until
from workers.contract.runtime.redis import connect

pytestmark = pytest.mark.xdist_group("redis")


@pytest.mark.parametrize("down", [0.0, 1.5])
def test_claims_resume_after_redis_died_under_running_jobs(fake: Stack, down: float) -> None:
    running = [fake.post("a long one", seed=seed, steps=80) for seed in range(2)]
    until(lambda: fake.claimed(*running), "both workers are busy")
    fake.redis.kill()
    time.sleep(down)
    fake.redis.start()
    following = fake.post("a house")
    until(lambda: fake.claimed(following), "the next job is claimed")
    for job_id in (*running, following):
        fake.succeeded(job_id)


def test_claims_resume_after_redis_died_beside_idle_workers(fake: Stack) -> None:
    fake.redis.kill()
    time.sleep(1.0)
    fake.redis.start()
    job_id = fake.post("a house")
    until(lambda: fake.claimed(job_id), "the next job is claimed")
    fake.succeeded(job_id)


def test_what_is_refused_while_redis_is_away_can_be_sent_again(fake: Stack) -> None:
    fake.redis.kill()
    with pytest.raises(AssertionError, match=":unavailable"):
        fake.post("a house", key="again")
    fake.redis.start()
    ids = {fake.post("a house", key="again") for _ in range(3)}
    assert len(ids) == 1
    fake.succeeded(ids.pop(), attempts=1)


def test_wiped_wake_ups_cost_time_but_no_job(fake: Stack) -> None:
    jobs = [fake.post("a house", seed=seed) for seed in range(8)]
    with connect(fake.redis.url) as redis:
        redis.delete("tiny-sd15.interactive", "tiny-sd15.batch")
    for job_id in jobs:
        fake.succeeded(job_id, attempts=1)


def test_a_full_redis_takes_no_jobs_but_finishes_those_it_has() -> None:
    with stack(workers=1, environ=PATIENT) as running, connect(running.redis.url) as redis:
        jobs = [running.post("a house", seed=seed, steps=10) for seed in range(4)]
        redis.config_set("maxmemory", "1")
        with pytest.raises(AssertionError, match="queue-full"):
            running.post("one too many")
        for job_id in jobs:
            running.succeeded(job_id, attempts=1)
        redis.config_set("maxmemory", "0")
        running.succeeded(running.post("another house"), attempts=1)


def test_a_redis_that_writes_no_more_refuses_and_recovers() -> None:
    with stack(workers=2) as running, connect(running.redis.url) as redis:
        job_id = running.post("a long one", steps=100)
        until(lambda: running.claimed(job_id), "it runs")
        redis.config_set("min-replicas-to-write", "1")
        with pytest.raises(AssertionError, match=":unavailable"):
            running.post("a house")
        assert running.client.get(f"/jobs/{job_id}").status_code == httpx2.codes.OK
        time.sleep(LEASE + 1)
        redis.config_set("min-replicas-to-write", "0")
        running.succeeded(job_id)
        running.succeeded(running.post("a house"), attempts=1)


def test_a_connection_that_is_silently_dead_is_noticed() -> None:
    # As behind a firewall that forgot its connections: nothing is closed, nothing arrives.
    with stack(workers=1) as running:
        running.succeeded(running.post("a house"))
        running.proxies[0].forget()
        job_id = running.post("a tree")
        until(lambda: running.claimed(job_id), "the job is claimed")
        running.succeeded(job_id)


def test_slow_answers_slow_jobs_down_and_nothing_else(fake: Stack) -> None:
    for proxy in fake.proxies:
        proxy.latency = 0.3
    try:
        for job_id in [fake.post("a house", seed=seed) for seed in range(4)]:
            fake.succeeded(job_id)
    finally:
        for proxy in fake.proxies:
            proxy.latency = 0.0


def test_answers_that_take_three_seconds_cost_no_attempt() -> None:
    names = ("LEASE_SECONDS", "WORKER_STEP_TIMEOUT_SECONDS", "WORKER_STALL_SECONDS")
    with stack(workers=1, environ={f"STYLIZE_{name}": "60" for name in names}) as slow:
        job_id = slow.post("a long one", steps=100)
        until(lambda: slow.claimed(job_id), "it is claimed")
        slow.proxies[0].latency = 3.0
        time.sleep(7.0)
        slow.proxies[0].latency = 0.0
        slow.succeeded(job_id, attempts=1)
        slow.succeeded(slow.post("a house"), attempts=1)


@pytest.mark.parametrize("fault", [Proxy.cut, Proxy.truncate], ids=["cut", "broken answers"])
def test_broken_connections_cost_at_most_an_attempt_each(fake: Stack, fault: Callable[[Proxy], None]) -> None:
    jobs = [fake.post("a house", seed=seed, steps=8) for seed in range(6)]
    for _, proxy in zip(range(4), itertools.cycle(fake.proxies), strict=False):
        fault(proxy)
        time.sleep(0.3)
    attempts = [fake.succeeded(job_id).attempts for job_id in jobs]
    assert sum(attempts) <= len(jobs) + 4
