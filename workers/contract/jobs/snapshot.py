"""What `estimate.lua` tells of some jobs at one moment: where they wait, what goes before them, who works."""

import json
from functools import cached_property
from statistics import median_low
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field

from workers.contract.jobs.models import Frozen

T = TypeVar("T")
Rows = Annotated[tuple[T, ...], BeforeValidator(lambda rows: rows or ())]
"""An empty table of Lua is an empty object in JSON."""


class Workload(Frozen):
    """What a job has in common with others that take as long, and the last durations of those in milliseconds.

    `durations` are those of batches of 1, 2, ... jobs, False where there were none; `unit_durations` are per unit of
    work, of all jobs of the technique in the queue. Only `fresh` ones, which were never tried, are done together.
    """

    fresh: bool
    batch_key: str | None = None
    work_units: float | None = None
    durations: Rows[str | Literal[False]] = ()
    unit_durations: str = ""

    @cached_property
    def medians(self) -> dict[int, float]:
        """The usual duration by batch size."""
        return {size: median(text) for size, text in enumerate(self.durations, 1) if text}

    @property
    def capacity(self) -> int:
        """The most jobs that were done together."""
        return max(self.medians, default=1)

    def expected(self, jobs: int) -> float | None:
        """Return how long a batch of some jobs takes; None when nothing like it was ever done."""
        if known := [size for size in self.medians if size <= jobs]:
            return self.medians[max(known)] * jobs / max(known)
        if self.work_units is None or not self.unit_durations:
            return None
        return median(self.unit_durations) * self.work_units * jobs


class RunningJob(Frozen):
    """A job that a worker has; `batch_size` counts the jobs that are done together with it, itself included.

    `workload` is a number among those of the snapshot, as everywhere here.
    """

    workload: int
    batch_size: int
    queue: str | None = None
    worker: str | None = None
    started: float | None = None
    progress: str = "{}"

    @cached_property
    def fraction(self) -> float:
        """How far it is, 0..1; 0 where another release says it in other words."""
        try:
            return float(json.loads(self.progress)["fraction"])
        except (ValueError, TypeError, KeyError):
            return 0.0


class QueueHead(Frozen):
    """How many jobs wait in a queue with a priority, and the workloads of the next of them as they are served."""

    length: int
    head: Rows[int]


class ReadyWorker(Frozen):
    """A worker that takes jobs."""

    id: str
    queues: Rows[str]


class AskedJob(Frozen):
    """A job that runs, or else waits in a queue of the snapshot."""

    running: RunningJob | None = None
    queue: str = ""
    workload: int = 0
    position: int = 0


class Snapshot(Frozen):
    """The jobs asked for in their order, False for one that neither waits nor runs, and what their times depend on.

    A queue is named by its priority and, after a space, the queue that workers serve.
    """

    now: float
    jobs: Rows[AskedJob | Literal[False]]
    queues: dict[str, QueueHead] = Field(default_factory=dict)
    running: Rows[RunningJob] = ()
    workers: Rows[ReadyWorker] = ()
    workloads: Rows[Workload] = ()


def median(durations: str) -> float:
    """Return the median of numbers in a text, the lower of two."""
    return median_low(float(word) for word in durations.split())
