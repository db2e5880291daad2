"""The census of the job store, as `census.lua` answers it."""

from collections.abc import Mapping, Sequence
from typing import Any

from workers.contract.jobs.results import Census, Queued


def census_of(lines: Sequence[Any], running: Mapping[str, str], counts: Mapping[str, str]) -> Census:
    """Return the census: `lines` are queue, priority, jobs, age in milliseconds and so on; `counts` see record.lua."""
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
    return Census(
        queued,
        {method: int(jobs) for method, jobs in running.items()},
        finished,
        lost=int(counts.get("lost", 0)),
        redelivered=int(counts.get("redelivered", 0)),
        eta_errors=eta_errors,
        unreadable=unreadable,
        eta_error_seconds=int(counts.get("eta sum", 0)) / 1000,
    )
