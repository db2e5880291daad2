"""The beat: one thread renews the leases of all jobs in hand and brings back cancel, deadline and loss.

The denoise loop reads the outcome at each step through `Holding.report`; it never talks to Redis itself.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import INVALID_SPAN, Span

from workers.contract.errors import StoreUnavailable
from workers.contract.jobs.models import Progress
from workers.contract.jobs.results import Claim
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.logs import job_fields
from workers.engine.types import PreviewFrame
from workers.worker.threads.periodic import PeriodicThread

log = logging.getLogger(__name__)


class JobInterrupted(Exception):
    """The job must stop now: Canceled, DeadlinePassed, Lost or GivenBack."""


class JobCanceledByCaller(JobInterrupted):
    """The caller canceled the job."""


class DeadlinePassed(JobInterrupted):
    """The job's own deadline passed."""


class Lost(JobInterrupted):
    """The lease ended; another worker may have the job by now."""


class GivenBack(JobInterrupted):
    """This worker is stopping and its grace is over."""


class Holding:
    """A job in hand. Written by the beat thread (`reason`) and the denoise loop (`progress`, the sketch)."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.progress: Progress | None = None
        self.span: Span = INVALID_SPAN
        self.reason: type[JobInterrupted] | None = None
        self._sketch: PreviewFrame | None = None
        self.claimed_at = self.renewed_at = self.moved_at = time.monotonic()

    def report(self, progress: Progress) -> None:
        """Note progress. Raises JobInterrupted when the job must stop."""
        self.progress = progress
        self.touch()

    def touch(self) -> None:
        """Note that the job is not hung. Raises JobInterrupted when it must stop."""
        self.moved_at = time.monotonic()
        self.check()

    def show(self, sketch: PreviewFrame) -> None:
        """Note what the job is becoming; the newest stays."""
        self._sketch = sketch

    def take_sketch(self) -> PreviewFrame | None:
        """Return the sketch noted since the last call, or None."""
        sketch, self._sketch = self._sketch, None
        return sketch

    def check(self) -> None:
        """Raise Interrupted when the job must stop."""
        if self.reason is not None:
            raise self.reason(self.claim.job.id)

    def stop(self, reason: type[JobInterrupted]) -> None:
        """Ask the loop to stop at its next step; the first reason given stays."""
        self.reason = self.reason or reason


class Heartbeat(PeriodicThread):
    """Renews every lease in hand each `period` seconds, at most a third of the lease."""

    def __init__(self, store: JobStore, *, lease_seconds: float, period: float = 0.5) -> None:
        super().__init__("beat", min(period, lease_seconds / 3))
        self._store = store
        self._lease = lease_seconds
        self._held: dict[str, Holding] = {}
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, claim: Claim) -> Iterator[Holding]:
        """Keep the claim's lease while the block runs."""
        holding = Holding(claim)
        with self._lock:
            self._held[claim.job.id] = holding
        try:
            yield holding
        finally:
            with self._lock:
                self._held.pop(claim.job.id, None)

    @property
    def held(self) -> tuple[Holding, ...]:
        """The jobs in hand."""
        with self._lock:
            return tuple(self._held.values())

    def run_once(self) -> None:
        """Renew every lease in hand; once the thread has ended they run out by themselves."""
        for holding in self.held:
            self._renew(holding)

    def _renew(self, holding: Holding) -> None:
        try:
            beat = self._store.beat(holding.claim, holding.progress)
        except StoreUnavailable as fault:
            job_id = holding.claim.job.id
            log.warning("beat of job %s failed: %s", job_id, fault, extra=job_fields(job_id))
            if time.monotonic() - holding.renewed_at > self._lease:
                holding.stop(Lost)
            return
        holding.renewed_at = time.monotonic()
        if not beat.held:
            holding.stop(Lost)
        elif beat.cancel:
            holding.stop(JobCanceledByCaller)
        elif beat.expired:
            holding.stop(DeadlinePassed)
