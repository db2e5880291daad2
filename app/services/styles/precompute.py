"""Styles prepared in advance: a job without pictures for each method."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from app.services.admission import JobAdmission
from app.services.styles.precompute_requests import name_of
from app.services.styles.view import StyleViews
from app.services.submit import JobAnnouncer
from app.storage.redis_calls import RedisCalls
from workers.contract.jobs.models import Job, PrecomputeRequest
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.tracing import current_traceparent
from workers.contract.styles.precompute import PrecomputeStore, precompute_key
from workers.contract.styles.store import Style


@dataclass(frozen=True)
class PrecomputeService:
    """Submits and cancels the jobs that prepare styles; jobs are kept for `keep_seconds`."""

    store: JobStore
    preparations: PrecomputeStore
    views: StyleViews
    admission: JobAdmission
    announcer: JobAnnouncer
    calls: RedisCalls
    keep_seconds: float

    async def start(self, style: Style, requests: Sequence[PrecomputeRequest]) -> None:
        """Submit a job for each preparation that is cold, all or none. Raises ContractError."""
        self.announce(await self.calls.call(self.submit, style, requests))

    def submit(self, style: Style, requests: Sequence[PrecomputeRequest]) -> list[Job]:
        """Submit as `start` does and return the new jobs, still to be announced. Talks to Redis: call it in a thread.

        Raises ContractError.
        """
        [jobs] = self.preparations.jobs([style.id])
        views = self.views.build_preparations([(one, jobs.get(name_of(one))) for one in requests])
        cold = [one for one, view in zip(requests, views, strict=True) if view.state == "cold"]
        new = [_build_job(style, one, after=jobs.get(name_of(one), "")) for one in cold]
        ids = self.store.submit_all(new, max_active=self.admission.most_active(style.owner))
        if ids:
            names = {name_of(one): job_id for one, job_id in zip(cold, ids, strict=True)}
            longer = 2 * self.keep_seconds  # than the jobs, whose keys name those before them
            self.preparations.put_jobs(style.id, names, longer)
        return [job for job, job_id in zip(new, ids, strict=True) if job.id == job_id]

    def announce(self, jobs: Sequence[Job]) -> None:
        """Wake workers for new jobs."""
        for job in jobs:
            self.announcer.announce(job, "style")

    def cancel(self, style: Style) -> None:
        """Cancel what still prepares a style. Talks to Redis: call it in a thread."""
        [jobs] = self.preparations.jobs([style.id])
        for job_id in jobs.values():
            self.store.cancel(job_id, style.owner)


def _build_job(style: Style, one: PrecomputeRequest, *, after: str) -> Job:
    """Return the job of a preparation. Its key, which no caller can send, makes simultaneous requests one job."""
    return Job(
        id=secrets.token_hex(16),
        owner=style.owner,
        queue=one.model,
        priority="batch",
        request=one,
        digest=precompute_key(one),
        idempotency_key=f"prepare {style.id} {precompute_key(one)} {after}",
        trace=current_traceparent(),
    )
