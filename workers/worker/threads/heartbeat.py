"""The heartbeat: one thread renews the leases of all jobs in hand and brings back cancel, deadline and loss.

The denoise loop reads the outcome at each step through `RunningJob.report`; it never talks to Redis itself.
"""

import logging
import threading
import time

from workers.contract.errors import StoreUnavailable
from workers.contract.jobs.results import Claim
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.logs import job_fields
from workers.worker.running_job import DeadlinePassed, JobCanceledByCaller, Lost, RunningJob
from workers.worker.threads.periodic import PeriodicThread

log = logging.getLogger(__name__)


class Heartbeat(PeriodicThread):
    """Renews every lease in hand each `period` seconds, at most a third of the lease."""

    def __init__(self, store: JobStore, *, lease_seconds: float, period: float = 0.5) -> None:
        super().__init__("beat", min(period, lease_seconds / 3))
        self._store = store
        self._lease = lease_seconds
        self._held: dict[str, RunningJob] = {}
        self._lock = threading.Lock()

    def hold(self, claim: Claim) -> RunningJob:
        """Return the claimed job, whose lease is renewed until its resources are closed."""
        running = RunningJob(claim)
        with self._lock:
            self._held[claim.job.id] = running
        running.resources.callback(self._let_go, claim.job.id)
        return running

    @property
    def held(self) -> tuple[RunningJob, ...]:
        """The jobs in hand."""
        with self._lock:
            return tuple(self._held.values())

    def run_once(self) -> None:
        """Renew every lease in hand; once the thread has ended they run out by themselves."""
        for running in self.held:
            self._renew(running)

    def _let_go(self, job_id: str) -> None:
        with self._lock:
            self._held.pop(job_id, None)

    def _renew(self, running: RunningJob) -> None:
        try:
            beat = self._store.beat(running.claim, running.progress)
        except StoreUnavailable as fault:
            job_id = running.job.id
            log.warning("beat of job %s failed: %s", job_id, fault, extra=job_fields(job_id))
            if time.monotonic() - running.renewed_at > self._lease:
                running.stop(Lost)
            return
        running.renewed_at = time.monotonic()
        if not beat.held:
            running.stop(Lost)
        elif beat.cancel:
            running.stop(JobCanceledByCaller)
        elif beat.expired:
            running.stop(DeadlinePassed)
