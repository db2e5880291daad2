"""Processor time of Redis and of the gateway for what waits, against what must not make it grow.

owners    one submit, and one look at a queued job, while as many jobs wait: all of one owner, or each of another
listing   `GET /jobs?limit=100` of jobs that wait, against the same of jobs that are done
streams   the gateway's second with IDLE_STREAMS callers who follow jobs that wait while nothing happens

Redis' time is the processor time of its process, which has nothing else to do. The exit status is 1 unless all goals
are met: ratios of OWNER_GOALS and LISTING_GOAL, STREAM_GOAL milliseconds.
"""

import http.client
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from redis import Redis

from deploy.embedded.redis import RedisProcess
from tests.bench.gateway import Server, serving, spent
from workers.contract.jobs.models import Job, Result, StylizeRequest
from workers.contract.jobs.results import WorkerStatus
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect

OWNER_GOALS = {1_000: 2.0, 10_000: 3.0}
LISTING_GOAL = 3.0
STREAM_GOAL = 20.0
IDLE_STREAMS = 200
CALLS, ROUNDS = 60, 5
REQUESTS = 20
SECONDS = 10.0
QUEUE, WORKER = "tiny-sd15", "worker"
ANYONE = "anyone"
"""The owner of all jobs of a gateway without keys."""


def job(owner: str) -> Job:
    request = StylizeRequest(
        **{"method": "signal-leak", "model": QUEUE, "seed": 1, "width": 64, "height": 64},
        **{"steps": 2, "guidance_scale": 7.5, "strength": 0.5},
    )
    return Job(id=secrets.token_hex(8), owner=owner, queue=QUEUE, request=request, digest="0" * 64)


def fill(store: JobStore, jobs: int, owners: int) -> list[str]:
    """Let jobs wait, the owners in turn; returns their ids."""
    return [store.submit_all([job(f"owner-{number % owners}")])[0] for number in range(jobs)]


def open_store(redis: Redis, prefix: str = "stylize:") -> JobStore:
    """Return an empty store in which one worker is ready and how long jobs take is known."""
    store = JobStore(redis, max_queued=1_000_000, lease_seconds=86400, prefix=prefix)
    store.announce(WorkerStatus(id=WORKER, queues=(QUEUE,), models=(QUEUE,), state="idle"), 86400)
    finish(store, [store.submit(job(ANYONE)).job.id])
    return store


def finish(store: JobStore, ids: list[str]) -> None:
    """Run as many jobs to their end."""
    for _ in ids:
        claim = store.claim(QUEUE, WORKER)
        assert claim is not None
        assert store.commit(claim, Result(images=()))


def per_call(pid: int, *kinds: list[Callable[[], object]]) -> list[float]:
    """Return the milliseconds of a process per call of each kind, the least of ROUNDS in which the kinds take turns."""
    rounds = []
    for _ in range(ROUNDS):
        costs = []
        for calls in kinds:
            before = spent(pid)
            for call in calls:
                call()
            costs.append((spent(pid) - before) / len(calls))
        rounds.append(costs)
    return [min(costs) for costs in zip(*rounds, strict=True)]


def look(store: JobStore, job_id: str) -> None:
    """Do what `GET /jobs/{id}` asks Redis for."""
    found = store.get(job_id)
    assert found is not None
    assert store.estimate(found) is not None


def compare_owners(folder: Path) -> bool:
    """Print the figures of many owners against one; returns whether the goals are met."""
    met = True
    with RedisProcess(folder, "--appendonly", "no") as child, connect(child.url) as redis:
        pid = int(redis.info("server")["process_id"])
        for owners, goal in OWNER_GOALS.items():
            redis.flushall()
            submits, looks = zip(
                *(owners_calls(open_store(redis, f"{n}:"), owners, n) for n in (1, owners)), strict=True
            )
            for what, kinds in (("look", looks), ("submit", submits)):
                one, many = per_call(pid, *kinds)
                met &= many <= goal * one
                print(
                    f"{what}, {owners} jobs wait: one owner {one:.3f} ms, {owners} owners {many:.3f} ms: "
                    f"{many / one:.2f}x (goal {goal}x)",
                    flush=True,
                )
    return met


def owners_calls(store: JobStore, jobs: int, owners: int) -> tuple[list[Callable[[], object]], ...]:
    """Let jobs of some owners wait; return the submits and the looks to be measured."""
    ids = fill(store, jobs, owners)
    looks = [partial(look, store, job_id) for job_id in (*ids[:: jobs // CALLS], ids[-1])]
    return [partial(submit, store, f"owner-{at % owners}") for at in range(CALLS)], looks


def submit(store: JobStore, owner: str) -> None:
    store.submit(job(owner))


@contextmanager
def service(folder: Path) -> Iterator[tuple[JobStore, Server, int]]:
    """Yield the store, the gateway, and the process of Redis."""
    more = {"STYLIZE_GATEWAY_STREAMS_PER_CALLER": str(IDLE_STREAMS)}
    with ExitStack() as running:
        child = running.enter_context(RedisProcess(folder / "redis"))
        redis = running.enter_context(connect(child.url))
        store = open_store(redis)
        gateway = running.enter_context(serving("app", folder, child.url, more))
        yield store, gateway, int(redis.info("server")["process_id"])


def get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == http.HTTPStatus.OK, text
    return text


def compare_listings(store: JobStore, gateway: Server, redis: int) -> bool:
    """Print the figures of a page of waiting jobs against one of finished jobs; returns whether the goal is met."""
    finish(store, [store.submit(job(ANYONE)).job.id for _ in range(100)])
    for _ in range(100):
        store.submit(job(ANYONE))
    cursor = json.loads(get(gateway.connection, "/jobs?limit=100"))["cursor"]
    pages = [partial(get, gateway.connection, f"/jobs?limit=100{more}") for more in (f"&cursor={cursor}", "")]
    for page, state in zip(pages, ("succeeded", "queued"), strict=True):
        assert page().count(f'"state":"{state}"'.encode()) == 100
    (done, queued), (gateway_done, gateway_queued) = (
        per_call(pid, *([page] * REQUESTS for page in pages)) for pid in (redis, gateway.process.pid)
    )
    print(
        f"GET /jobs?limit=100: finished {done:.2f} ms of Redis, queued {queued:.2f} ms: {queued / done:.2f}x "
        f"(goal {LISTING_GOAL}x)   (the gateway: {gateway_done:.1f} and {gateway_queued:.1f} ms)",
        flush=True,
    )
    return queued <= LISTING_GOAL * done


def measure_streams(store: JobStore, gateway: Server, redis: int) -> bool:
    """Print what streams cost that have nothing to tell; returns whether the goal is met."""
    pids, seconds = (gateway.process.pid, redis), []
    port = gateway.connection.port
    ids = [found.id for found in store.page(owner=ANYONE, limit=100).jobs]
    with ExitStack() as open_streams:
        for streams in (0, IDLE_STREAMS):
            for at in range(streams):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                open_streams.callback(connection.close)
                connection.request("GET", f"/jobs/{ids[at % len(ids)]}/events")
                assert connection.getresponse().readline().strip()
            time.sleep(3)
            began, before = time.monotonic(), [spent(pid) for pid in pids]
            time.sleep(SECONDS)
            passed = time.monotonic() - began
            seconds.append([(spent(pid) - then) / passed for pid, then in zip(pids, before, strict=True)])
    (idle, redis_idle), (gateway_ms, redis_ms) = seconds
    print(
        f"{IDLE_STREAMS} idle streams: the gateway {gateway_ms:.1f} ms a second (goal {STREAM_GOAL}; none: {idle:.1f}),"
        f" Redis {redis_ms:.1f} (none: {redis_idle:.1f})",
        flush=True,
    )
    return gateway_ms <= STREAM_GOAL


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="stylize-bench-") as name, service(Path(name)) as parts:
        met = [compare_listings(*parts), measure_streams(*parts)]
    with tempfile.TemporaryDirectory(prefix="stylize-bench-") as name:
        met.append(compare_owners(Path(name)))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
