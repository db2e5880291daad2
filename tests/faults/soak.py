"""`python -m tests.faults.soak`: many jobs under many faults, then the checker; the printed seed gives all choices.

`--faults kill=1000,redis=100,freeze=100,cut=100`: how often each kind happens, spread over the jobs.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from tests.faults.harness.callers import Callers, asks
from tests.faults.harness.checker import violations
from tests.faults.harness.history import Evidence, History
from tests.faults.harness.injector import Injector
from tests.faults.harness.receiver import Receiver
from tests.faults.harness.stack import LEASE, Stack, stack

FAULTS = "kill=1000,redis=100,freeze=100,cut=100"
PATIENCE = 180.0
CLAIMED_AGAIN, AFTER_REDIS = LEASE + 10, 15.0
"""Seconds: the 99th percentile after an end of a worker, the worst after a return of Redis; nothing else may run."""
SETTINGS = {"STYLIZE_MAX_ATTEMPTS": "50", "STYLIZE_WORKER_BATCH_PICTURES": "1"}
"""A job may meet many faults; a fault may cost one attempt."""


@dataclass(frozen=True)
class Report:
    """What a run showed; times in seconds."""

    violations: list[str]
    jobs: int
    faults: Counter[str]
    extra_attempts: int
    after_end: list[float]
    after_redis: list[float]
    seconds: float

    def in_time(self) -> bool:
        """Return whether jobs went on as soon as promised."""
        return quantile(self.after_end, 0.99) <= CLAIMED_AGAIN and quantile(self.after_redis, 1) <= AFTER_REDIS

    def text(self) -> str:
        """Return the figures in a few lines."""
        faults = ", ".join(f"{times} {kind}" for kind, times in sorted(self.faults.items()))
        return "\n".join(
            (
                f"{self.jobs} jobs accepted under {self.faults.total()} faults ({faults}) in {self.seconds:.0f} s",
                f"violations: {len(self.violations)}; extra attempts: {self.extra_attempts}",
                f"claimed again after its worker was killed or stopped: {spread(self.after_end)}",
                f"next claim after Redis came back: {spread(self.after_redis)}",
                *self.violations[:20],
            )
        )


def spread(seconds: list[float]) -> str:
    """Return the count, the median, the 99th percentile and the worst."""
    if not seconds:
        return "never"
    p50, p99 = (quantile(seconds, part) for part in (0.5, 0.99))
    return f"{len(seconds)} times, median {p50:.2f} s, p99 {p99:.2f} s, worst {max(seconds):.2f} s"


def quantile(seconds: list[float], part: float) -> float:
    """Return the value below which `part` of them lie, 0 without any."""
    ranked = sorted(seconds) or [0.0]
    return ranked[min(len(ranked) - 1, int(len(ranked) * part))]


def soak(running: Stack, receiver: Receiver, *, jobs: int, plan: Mapping[str, int], seed: int) -> Report:
    """Let callers want jobs while faults happen; when all is quiet, check. `receiver` gets the webhooks."""
    began = time.monotonic()
    rng, history = random.Random(seed), History()
    url, wanted = str(running.client.base_url), asks(rng, jobs)
    crowd = Callers(url, history, wanted, threads=8, patience=PATIENCE, webhook_url=receiver.url)
    injector = Injector(running, history, plan, rng)
    crowd.start()
    try:
        injector.run(crowd, jobs)
    except BaseException:
        crowd.leave()
        raise
    finally:
        injector.settle()
        crowd.join()
    receiver.await_calls({job_id for ids in history.acknowledged.values() for job_id in ids})
    evidence = replace(gather(running, history), calls=list(receiver.calls))
    return Report(
        violations=violations(evidence),
        jobs=len(history.acknowledged),
        faults=Counter(fault.kind for fault in history.faults),
        extra_attempts=sum(max(0, job.attempts - 1) for job in evidence.records.values()),
        after_end=recoveries(evidence),
        after_redis=resumptions(evidence),
        seconds=time.monotonic() - began,
    )


def gather(running: Stack, history: History) -> Evidence:
    """Return what is known once everything is quiet."""
    records, cursor = {}, None
    while True:
        page = running.store.page(limit=500, cursor=cursor)
        records |= {job.id: job for job in page.jobs}
        if (cursor := page.cursor) is None:
            return Evidence(history, records, running.journal.read())


def recoveries(evidence: Evidence) -> list[float]:
    """Return, for each job whose worker was killed or stopped, the time until it was claimed again."""
    ended = {fault.pid: fault.time for fault in evidence.history.faults if fault.kind in ("kill", "term")}
    claims: dict[str, list[tuple[float, int]]] = {}
    for line in evidence.journal:
        if line["event"] == "claimed":
            claims.setdefault(line["job"], []).append((line["time"], line["pid"]))
    times = []
    for held in claims.values():
        for (_, pid), (again, _) in pairwise(held):
            if pid in ended and again > ended[pid]:
                times.append(again - ended[pid])
    return times


def resumptions(evidence: Evidence) -> list[float]:
    """Return, for each return of Redis, the time until the next claim."""
    claimed = sorted(line["time"] for line in evidence.journal if line["event"] == "claimed")
    following = ((back, next((at for at in claimed if at > back), None)) for back in evidence.history.redis_back)
    return [at - back for back, at in following if at is not None]


def plan_of(text: str) -> dict[str, int]:
    """Return how often each kind of fault happens, from `kind=times,...`."""
    return {kind: int(times) for kind, _, times in (part.partition("=") for part in text.split(",") if part)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--faults", type=plan_of, default=plan_of(FAULTS), help=f"default: {FAULTS}")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with Receiver() as receiver, stack(workers=options.workers, environ=SETTINGS | receiver.environ) as running:
        report = soak(running, receiver, jobs=options.jobs, plan=options.faults, seed=options.seed)
    print(report.text())
    return 0 if report.jobs == options.jobs and not report.violations and report.in_time() else 1


if __name__ == "__main__":
    sys.exit(main())
