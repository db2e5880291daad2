"""What waits and runs in the job store, as `queue_stats.lua` answers it."""

from collections.abc import Mapping, Sequence
from typing import Any

from workers.contract.jobs.results import Queued, QueueStats


def parse_queue_stats(lines: Sequence[Any], running: Mapping[str, str], counts: Mapping[str, str]) -> QueueStats:
    """Return the statistics; `lines` repeat queue, priority, jobs, age in milliseconds; `counts`: see shared.lua."""
    queued = tuple(
        Queued(queue, priority, int(jobs), int(age) / 1000)
        for queue, priority, jobs, age in zip(*(iter(lines),) * 4, strict=True)
    )
    finished, eta_errors, unreadable = {}, {}, {}
    for what, times in counts.items():
        match what.split(" "):
            case ["finished", method, state, reason]:
                finished[method, state, reason] = int(times)
            case ["unreadable", kind]:
                unreadable[kind] = int(times)
            case ["eta", bucket] if bucket != "sum":
                eta_errors[bucket] = int(times)
    return QueueStats(
        queued,
        {method: int(jobs) for method, jobs in running.items()},
        finished,
        lost=int(counts.get("lost", 0)),
        redelivered=int(counts.get("redelivered", 0)),
        eta_errors=eta_errors,
        unreadable=unreadable,
        eta_error_seconds=int(counts.get("eta sum", 0)) / 1000,
    )
