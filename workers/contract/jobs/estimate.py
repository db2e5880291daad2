"""When jobs will be done: from the jobs before them, the workers of their queue, and how long jobs like them took.

All of it is told from a snapshot, which `estimate.lua` takes at one moment.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median_low
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import BeforeValidator, Field

from workers.contract.jobs.models import Frozen
from workers.contract.jobs.results import QueueEstimate

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


class LeasedJob(Frozen):
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

    running: LeasedJob | None = None
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
    running: Rows[LeasedJob] = ()
    workers: Rows[ReadyWorker] = ()
    workloads: Rows[Workload] = ()


class Times(NamedTuple):
    """Milliseconds from now to a job's start and end; None where there is nothing to go by."""

    start: float | None = None
    finish: float | None = None


@dataclass
class Batch:
    """Jobs that a worker does together, one more as long as they come one after another; see claim.lua."""

    first: Workload
    start: float
    jobs: int = 1

    def takes(self, job: Workload) -> bool:
        """Return whether a job is done together with these."""
        return job.fresh and job.batch_key == self.first.batch_key and self.jobs < self.first.capacity


class Timeline:
    """The workers of a queue, to whom jobs are given in turn: whoever is free first takes the next."""

    def __init__(self, free: Sequence[float]) -> None:
        """Begin with the milliseconds until each worker is free; there is at least one."""
        self.free = list(free)
        self.known = True
        self._batch: Batch | None = None

    def serve(self, job: Workload) -> Times:
        """Give the next job to a worker; return its times."""
        batch = self._batch
        if batch is not None and batch.takes(job):
            batch.jobs += 1
        else:
            self.free.sort()
            batch = self._batch = Batch(job, self.free[0])
        length = batch.first.expected(batch.jobs)
        self.free[0] = batch.start + (length or 0)
        times = Times(batch.start, None if length is None else self.free[0]) if self.known else Times()
        self.known &= length is not None
        return times

    def after(self, skipped: float) -> "Timeline":
        """Return the same workers, busy for some more milliseconds each; the timeline itself stays."""
        later = Timeline([each + skipped for each in self.free])
        later.known = self.known
        if not skipped and self._batch:
            later._batch = Batch(self._batch.first, self._batch.start, self._batch.jobs)
        return later


class QueueTimes:
    """The times of the next jobs of a queue, from which those of jobs further back are told."""

    def __init__(self, snapshot: Snapshot, queue: str) -> None:
        """Give the next jobs to the workers."""
        free, self._workloads = free_workers(snapshot, queue.partition(" ")[2]), snapshot.workloads
        self._timeline = Timeline(free) if free else None
        self._head = [self._timeline.serve(job) for job in next_jobs(snapshot, queue)] if self._timeline else []

    def of(self, asked: AskedJob) -> Times:
        """Return the times of one of the jobs."""
        if asked.position < len(self._head):
            return self._head[asked.position]
        skipped, each = asked.position - len(self._head), 0.0
        if self._timeline is None or (skipped and not self._head):
            return Times()
        if skipped:  # they take as long as those before them
            each = sum(self._timeline.free) / len(self._timeline.free) / len(self._head)
        return self._timeline.after(each * skipped).serve(self._workloads[asked.workload])


def estimates(snapshot: Snapshot) -> list[QueueEstimate | None]:
    """Return what is to be expected of each job asked for; None for one that neither waits nor runs."""
    queues: dict[str, QueueTimes] = {}
    found: list[QueueEstimate | None] = []
    for asked in snapshot.jobs:
        if not asked:
            found.append(None)
        elif asked.running:
            found.append(QueueEstimate(None, 0.0, _seconds(remaining(snapshot, asked.running))))
        else:
            if asked.queue not in queues:
                queues[asked.queue] = QueueTimes(snapshot, asked.queue)
            start, finish = queues[asked.queue].of(asked)
            found.append(QueueEstimate(asked.position, _seconds(start), _seconds(finish)))
    return found


def next_jobs(snapshot: Snapshot, queue: str) -> list[Workload]:
    """Return the next jobs of a queue as they are served, what is urgent first."""
    priority, _, served = queue.partition(" ")
    numbers = snapshot.queues[queue].head
    if priority == "batch":
        urgent = snapshot.queues[f"interactive {served}"]
        numbers = (*urgent.head, *numbers) if len(urgent.head) == urgent.length else urgent.head
    return [snapshot.workloads[number] for number in numbers]


def remaining(snapshot: Snapshot, job: LeasedJob) -> float | None:
    """Return the milliseconds until a running job is done; None when there is nothing to go by."""
    elapsed = 0.0 if job.started is None else snapshot.now - job.started
    usual = snapshot.workloads[job.workload].expected(job.batch_size)
    if usual is not None and usual > elapsed:
        return usual - elapsed
    if job.fraction > 0:
        return elapsed * (1 - job.fraction) / job.fraction
    return None if usual is None else 0.0


def free_workers(snapshot: Snapshot, queue: str) -> list[float]:
    """Return the milliseconds until each worker of a queue is free; none when a running job is of unknown length."""
    busy: dict[str, float] = {}
    for job in snapshot.running:
        left = remaining(snapshot, job)
        if job.queue == queue and left is None:
            return []
        if job.worker:
            busy[job.worker] = max(busy.get(job.worker, 0.0), left or 0.0)
    return [busy.get(worker.id, 0.0) for worker in snapshot.workers if queue in worker.queues]


def _seconds(millis: float | None) -> float | None:
    return None if millis is None else math.ceil(millis) / 1000


def median(durations: str) -> float:
    """Return the median of numbers in a text, the lower of two."""
    return median_low(float(word) for word in durations.split())
