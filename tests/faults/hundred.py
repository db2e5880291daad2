"""`python -m tests.faults.hundred`: one fault a hundred times, each counted.

Redis dies, workers are stopped, killed or hang, a connection is silently dead, poison, a worker or the gateway dies at
each named point. `--only` with the name of one runs that one; `--times` is another number than a hundred.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import product

import httpx2

from tests.faults.harness.stack import SETTINGS, Stack, stack
from tests.support.service import kill, until
from workers.contract.jobs.models import State

CLAIM_SECONDS = 15.0
STEP_TIMEOUT = float(SETTINGS["STYLIZE_WORKER_STEP_TIMEOUT_SECONDS"])
POISON_ATTEMPTS = 3
BACKLOG, BACKLOG_STEPS = 24, 6
GOAL_GROWTH = 2.0
POINTS = {"claimed": 2, "step2": 2, "stored": 2, "committed": 1}
"""The attempts that a job needs when its worker dies there."""


@dataclass(frozen=True)
class Verdict:
    """What a hundred of one fault showed: `text` in one line."""

    kept: bool
    text: str


def redis(running: Stack, times: int, rng: random.Random) -> Verdict:
    """Redis dies while every worker has a job: the time from its return to the next claim."""
    seconds: list[float] = []
    for _ in range(times):
        tell(seconds)
        held = [running.post("a long one", seed=seed, steps=20) for seed in range(len(running.workers))]
        until(partial(running.claimed, *held), "every worker is busy")
        running.redis.kill()
        time.sleep(rng.uniform(0, 1.5))
        running.redis.start()
        back = time.monotonic()
        following = running.post("a house")
        until(partial(running.claimed, following), "the next job is claimed")
        seconds.append(time.monotonic() - back)
        for job_id in (*held, following):
            running.succeeded(job_id)
    return within("claims resumed after Redis was back", seconds)


def stop(running: Stack, times: int, rng: random.Random) -> Verdict:
    """SIGTERM in the middle of a job that fits into the grace or does not: the time until it is done or claimed again.

    No attempt may be lost by it.
    """
    seconds: list[float] = []
    finished = 0
    for n in range(times):
        tell(seconds)
        job_id = running.post(f"house {n}", steps=rng.randint(20, 60))
        until(partial(stepping, running, job_id), "it runs")
        token, worker = running.record(job_id).token, running.worker_of(job_id)
        told = time.monotonic()
        worker.ask_to_end()
        until(partial(settled, running, job_id, token), "done or claimed again")
        seconds.append(time.monotonic() - told)
        finished += running.succeeded(job_id, attempts=1).token == token
        running.await_workers()
    verdict = within("finished or claimed again after SIGTERM", seconds)
    return Verdict(verdict.kept, f"{verdict.text}; {finished} finished in grace")


def lost(running: Stack, times: int, rng: random.Random) -> Verdict:
    """A worker is killed or hangs in the middle of a job: the time until another has claimed it."""
    seconds: list[float] = []
    for n in range(times):
        tell(seconds)
        hangs = bool(n % 2)
        job_id = running.post(f"a house {n} hang@step2*1" if hangs else f"a house {n}", steps=rng.randint(20, 60))
        until(partial(stepping, running, job_id), "it runs")
        token = running.record(job_id).token
        began = time.monotonic()
        if not hangs:
            kill(running.worker_of(job_id))
        until(partial(settled, running, job_id, token), "claimed again")
        seconds.append(time.monotonic() - began - (STEP_TIMEOUT if hangs else 0))
        running.succeeded(job_id, attempts=2)
        running.await_workers()
    return within("claimed again after a worker was killed or its time for a step was over", seconds)


def silent(running: Stack, times: int, rng: random.Random) -> Verdict:
    """A connection of an idle worker is forgotten by the network: the time from a job's acceptance to its claim."""
    seconds: list[float] = []
    for n in range(times):
        tell(seconds)
        running.proxies[0].forget()
        job_id = running.post(f"a house {n}", seed=rng.randrange(1 << 31))
        seconds.append(until(partial(running.claimed, job_id), "it is claimed"))
        running.succeeded(job_id)
    return within("claimed over a connection that was silently dead", seconds, CLAIM_SECONDS + 10)


def stepping(running: Stack, job_id: str) -> bool:
    """Return whether a job has made a step."""
    progress = running.record(job_id).progress
    return progress is not None and progress.step > 0


def settled(running: Stack, job_id: str, token: int) -> bool:
    """Return whether a job is done, or another worker than the one of the token has it."""
    job = running.record(job_id)
    return job.state is State.SUCCEEDED or (job.state is State.RUNNING and job.token > token)


def poison(running: Stack, times: int, rng: random.Random) -> Verdict:
    """A job that ends each worker, at the head of a backlog: its attempts, and how long the others wait for it."""
    calm: list[float] = []
    troubled: list[float] = []
    failed = 0
    for n in range(times):
        tell(troubled)
        calm += waits(running, rng)
        wicked = running.post(f"poison {n} kill@step2*9")
        troubled += waits(running, rng)
        end = running.finished(wicked)
        failed += (end["state"], end["error"]["code"], end["attempts"]) == ("failed", "poison", POISON_ATTEMPTS)
        running.await_workers()
    growth = p99(troubled) / p99(calm)
    return Verdict(
        failed == times and growth < GOAL_GROWTH,
        f"poison failed after {POISON_ATTEMPTS} attempts: {failed} of {times}; p99 of {len(troubled)} others' waits "
        f"{p99(troubled):.2f} s beside it, {p99(calm):.2f} s without: x {growth:.2f}",
    )


def points(running: Stack, times: int, rng: random.Random) -> Verdict:
    """A worker dies at a point of each job's first attempt: how many are done, and how many attempts come on top.

    Those that come on top are of jobs that a dying worker had begun while it published the last.
    """
    done = extra = 0
    for point, attempts in POINTS.items():
        for first in range(0, times, len(running.workers)):
            wave = range(first, min(times, first + len(running.workers)))
            ids = [running.post(f"house {n} kill@{point}*1", seed=rng.randrange(1 << 31)) for n in wave]
            jobs = [running.succeeded(job_id) for job_id in ids]
            done += len(jobs)
            extra += sum(job.attempts - attempts for job in jobs)
            running.await_workers()
        print(f"{point}: {done} done, {extra} further attempts", file=sys.stderr, flush=True)
    deaths = running.troubled()
    text = f"{deaths} workers died at {len(POINTS)} points: {done} jobs done, one picture each"
    return Verdict(done == deaths == times * len(POINTS) and extra <= deaths, f"{text}; {extra} further attempts")


def gateway(running: Stack, times: int, rng: random.Random) -> Verdict:
    """The gateway dies around the record of a request that is then repeated with its key: how many jobs that makes."""
    good = 0
    for n, point in product(range(times), ("kept", "recorded")):
        prompt, key = f"house {n} kill@{point}*1", f"{point}-{n}"
        with suppress(httpx2.TransportError):
            running.post(prompt, key=key)
        until(partial(running.answers, "/livez"), "the gateway is back")
        job_id = running.post(prompt, key=key)
        running.succeeded(job_id, attempts=1)
        good += [job.id for job in running.store.page(limit=500).jobs if job.request.prompt == prompt] == [job_id]
    deaths = running.troubled()
    return Verdict(
        good == deaths == 2 * times, f"the gateway died {deaths} times around the record: one job each for {good}"
    )


def waits(running: Stack, rng: random.Random) -> list[float]:
    """Return how long each job of a backlog waited for its first claim, in seconds."""
    ids = [running.post("a tree", seed=rng.randrange(1 << 31), steps=BACKLOG_STEPS) for _ in range(BACKLOG)]
    jobs = [running.succeeded(job_id) for job_id in ids]
    return [(job.started_at - job.created_at).total_seconds() for job in jobs if job.started_at]


def p99(seconds: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(seconds, n=100)[98]


def within(what: str, seconds: list[float], most: float = CLAIM_SECONDS) -> Verdict:
    """Judge times against the seconds of the goal."""
    good = sum(one <= most for one in seconds)
    text = f"{what} within {most:.0f} s: {good} of {len(seconds)}; median {statistics.median(seconds):.2f} s"
    return Verdict(good == len(seconds), f"{text}, worst {max(seconds):.2f} s")


def tell(seconds: list[float]) -> None:
    """Say how far it is, and what was worst."""
    if seconds:
        print(f"{len(seconds)} times, worst {max(seconds):.2f} s", file=sys.stderr, flush=True)


FAULTS: dict[str, tuple[Callable[[Stack, int, random.Random], Verdict], int]] = {
    "redis": (redis, 2),
    "stop": (stop, 2),
    "lost": (lost, 3),
    "silent": (silent, 1),
    "poison": (poison, 3),
    "points": (points, 3),
    "gateway": (gateway, 1),
}
"""Each with the number of workers that it wants."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.hundred", description=__doc__)
    parser.add_argument("--only", choices=FAULTS)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    kept = True
    for fault, workers in [FAULTS[options.only]] if options.only else FAULTS.values():
        with stack(workers=workers) as running:
            verdict = fault(running, options.times, random.Random(options.seed))
        print(verdict.text, flush=True)
        kept = kept and verdict.kept
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
