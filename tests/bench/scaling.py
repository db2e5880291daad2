"""`python -m tests.bench.scaling`: how much more two workers do than one, and that coming and going loses nothing.

The engine sleeps instead of denoising, so that the protocol is measured and not this machine's processors.
"""

import sys
from collections.abc import Sequence

from tests.faults.harness.stack import Stack, stack
from tests.support.service import until
from workers.contract.jobs.models import State

JOBS = 60
STEPS = 8
STEP_SECONDS = 0.05
ALONE = {"STYLIZE_WORKER_BATCH_PICTURES": "1"}


def submit(service: Stack, jobs: int) -> list[str]:
    """Have jobs accepted; return their ids."""
    return [service.post(f"a house {n}", seed=n, steps=STEPS) for n in range(jobs)]


def settled(service: Stack, job_ids: Sequence[str]) -> bool:
    """Return whether all jobs have come to an end."""
    return all(service.record(job_id).state.final for job_id in job_ids)


def jobs_per_second(workers: int) -> float:
    """Return the throughput of a full queue, from the first start to the last end, by the clock of Redis."""
    with stack(workers=workers, step_seconds=STEP_SECONDS, environ=ALONE) as service:
        job_ids = submit(service, JOBS)
        until(lambda: settled(service, job_ids), "all jobs are done")
        records = [service.record(job_id) for job_id in job_ids]
        began = min(job.started_at.timestamp() for job in records if job.started_at)
        ended = max(job.finished_at.timestamp() for job in records if job.finished_at)
        return JOBS / (ended - began)


def lost_while_workers_come_and_go() -> int:
    """Return how many jobs do not succeed when a second worker leaves and comes back under load."""
    with stack(workers=2, step_seconds=STEP_SECONDS, environ=ALONE) as service:
        job_ids = submit(service, JOBS)
        until(lambda: service.record(job_ids[5]).state.final, "some jobs are done")
        second = service.workers[1]
        service.dismiss(second)
        second.ask_to_end()
        until(lambda: second.process is None, "the second worker has ended")
        until(lambda: service.record(job_ids[JOBS // 2]).state.final, "half of the jobs are done")
        with service.tending:
            service.dismissed.clear()
        until(lambda: settled(service, job_ids), "all jobs are done")
        return sum(service.record(job_id).state is not State.SUCCEEDED for job_id in job_ids)


def main() -> int:
    """Measure, print, and return 1 when a goal is missed."""
    one, two = jobs_per_second(1), jobs_per_second(2)
    print(f"one worker {one:.2f} jobs/s, two workers {two:.2f} jobs/s: {two / one:.2f} times (goal: 1.90)")
    lost = lost_while_workers_come_and_go()
    print(f"{lost} of {JOBS} jobs lost while a worker left and came back (goal: 0)")
    return int(two / one < 1.9 or lost > 0)


if __name__ == "__main__":
    sys.exit(main())
