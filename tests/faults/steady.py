"""`python -m tests.faults.steady`: an ordinary hour at part of the capacity: no errors, and memory that does not grow.

Jobs come at random moments, whether the last are done or not. Records and pictures are kept only for
minutes, so that what is deleted balances what comes.
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from tests.faults.harness.memory import Growth, first_child
from tests.faults.harness.stack import Stack, stack
from tests.faults.harness.visitors import Visitors

GOAL_SLOPE = 0.01
WARM_UP = 1 / 6
"""The part of the time after which memory is looked at: caches and pools have their size, the first jobs are gone."""
STEP_SECONDS = 0.05
AGED_AT_ONCE = 250
SAMPLE_SECONDS = 5.0
REPORT_SECONDS = 60.0
SETTINGS = {
    "STYLIZE_LEASE_SECONDS": "30",
    "STYLIZE_SWEEPER_PERIOD_SECONDS": "5",
    "STYLIZE_WORKER_STEP_TIMEOUT_SECONDS": "120",
    "STYLIZE_WORKER_STALL_SECONDS": "60",
    "STYLIZE_RETENTION_HOURS": "0.05",
    "STYLIZE_GATEWAY_STREAMS_PER_CALLER": "500",
}
"""Those of a real service, but for the retention; and here one caller is many."""


def finish(running: Stack, jobs: int, steps: int) -> list[str]:
    """Have so many jobs done, and return their ids."""
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda seed: running.post("a house", seed=seed, steps=steps), range(jobs)))
    for job_id in ids:
        running.finished(job_id)
    return ids


def age(running: Stack, jobs: int) -> None:
    """Have many small jobs done: after some 2,000 even the interpreter's tables of strings have their size."""
    for _ in range(0, jobs, AGED_AT_ONCE):
        finish(running, AGED_AT_ONCE, 1)


def capacity(running: Stack, jobs: int, steps: int) -> float:
    """Return how many jobs a second the workers finish while more are waiting."""
    ids = finish(running, jobs, steps)
    records = [running.record(job_id) for job_id in ids]
    ends = sorted(job.finished_at for job in records if job.finished_at)
    quarter = jobs // 4
    return (jobs - 2 * quarter) / (ends[-quarter - 1] - ends[quarter - 1]).total_seconds()


def pids(running: Stack) -> Mapping[str, int | None]:
    """Return the processes that live as long as the service."""
    children = {child.name: child.process.pid for child in running.children if child.process}
    decoder = first_child(children["gateway"]) if "gateway" in children else None
    return {**children, "gateway's decoder": decoder}


async def spend(visitors: Visitors, growth: Growth, seconds: float) -> None:
    """Let visitors come; look at the memory now and then, and tell a line a minute."""

    async def look() -> None:
        told = time.monotonic()
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            growth.sample()
            if time.monotonic() - told >= REPORT_SECONDS:
                told = time.monotonic()
                sizes = ", ".join(f"{name} {series[-1][1] / 1e6:.2f}" for name, series in growth.samples.items())
                print(f"{len(visitors.latencies)} done, {visitors.errors.total()} errors; MB: {sizes}", flush=True)

    looking = asyncio.create_task(look())
    await visitors.come(seconds)
    looking.cancel()
    await asyncio.wait([looking])
    if not looking.cancelled():
        looking.result()


def faults(visitors: Visitors, growth: Growth, warm_up: float) -> list[str]:
    """Return what is outside the goal, in words."""
    grown = [name for name in growth.samples if growth.slope(name, warm_up) > GOAL_SLOPE]
    return [
        *(f"{times} times {error}" for error, times in visitors.errors.most_common()),
        *(f"{name} was replaced" for name in sorted(growth.replaced)),
        *(f"{name} grows faster than {GOAL_SLOPE:.0%} per hour" for name in grown),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.steady", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--load", type=float, default=0.7, help="part of the capacity, which is measured first")
    parser.add_argument("--job-seconds", type=float, default=1.0, help="longer on a machine that is short of CPU")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--aged", type=int, default=2500, help="small jobs that each worker does before the hour")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    seconds, warm_up = options.minutes * 60, options.minutes * 60 * WARM_UP
    steps = round(options.job_seconds / STEP_SECONDS)
    with stack(workers=options.workers, step_seconds=STEP_SECONDS, environ=SETTINGS) as running:
        age(running, options.aged * options.workers)
        most = capacity(running, 20 * options.workers, steps)
        print(f"seed {options.seed}; capacity {most:.2f} jobs/s, {options.load:.0%} of it comes", flush=True)
        rng = random.Random(options.seed)
        visitors = Visitors(str(running.client.base_url), rng, rate=options.load * most, steps=steps)
        growth = Growth(lambda: pids(running))
        asyncio.run(spend(visitors, growth, seconds))
    cuts = statistics.quantiles(visitors.latencies, n=100)
    print(f"{len(visitors.latencies)} jobs done in {options.minutes:g} minutes, {visitors.errors.total()} errors")
    print(f"from due to picture: p50 {cuts[49]:.2f} s, p95 {cuts[94]:.2f} s, p99 {cuts[98]:.2f} s")
    for name in growth.samples:
        print(growth.text(name, warm_up))
    found = faults(visitors, growth, warm_up)
    print("\n".join(found) or "within the goal")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
