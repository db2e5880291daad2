"""Callers' own jobs, and what callers get to see of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.auth.signed_urls import Links
from app.errors import NotFound
from app.schemas.job import JobsView, JobView
from app.services.job_view import job_view
from app.storage.redis_calls import RedisCalls
from workers.contract.errors import UnreadableRecord
from workers.contract.jobs.models import Job, State
from workers.contract.jobs.results import JobFilter, QueueEstimate
from workers.contract.jobs.store import JobStore

NO_JOB = "there is no such job, or it is no longer kept"


@dataclass(frozen=True)
class JobService:
    """Reads and cancels jobs. What is no job of the owner (None: anyone's) raises NotFound.

    Final jobs are kept for `keep`.
    """

    store: JobStore
    links: Links
    calls: RedisCalls
    keep: timedelta

    async def get(self, job_id: str, owner: str | None) -> Job:
        """Return a job. Raises NotFound, UnreadableRecord."""
        return await self.calls.call(self._find, job_id, owner)

    async def get_many(self, ids: Sequence[str], owner: str) -> list[Job]:
        """Return an owner's jobs. Raises NotFound naming those that there are not."""
        found = await self.calls.call(self.store.many, ids)
        jobs = [found.get(job_id) for job_id in ids]
        if missing := [i for i, job in zip(ids, jobs, strict=True) if job is None or job.owner != owner]:
            raise NotFound(f"there is no such job: {', '.join(missing[:10])}")
        return [job for job in jobs if job is not None]

    async def get_view(self, job_id: str, owner: str) -> JobView:
        """Return what callers see of a job. Raises NotFound, UnreadableRecord."""

        def look() -> JobView:
            return self.build_views([self._find(job_id, owner)])[0]

        return await self.calls.call(look)

    async def get_view_of(self, job: Job, estimate: QueueEstimate | None = None) -> JobView:
        """Return what callers see of a job that was just read, with its estimate where that is known already."""
        if estimate is not None:
            return job_view(job, self.links, estimate, self.keep)
        return (await self.calls.call(self.build_views, [job]))[0]

    async def get_page(
        self, owner: str, wanted: JobFilter, *, state: State | None, limit: int, cursor: str | None, queue: bool = True
    ) -> JobsView:
        """Return a page of an owner's jobs that a filter wants, newest first; without `queue` not their places."""

        def look() -> JobsView:
            found = self.store.page(owner=owner, state=state, limit=limit, cursor=cursor, wanted=wanted)
            views = self.build_views(found.jobs, queue=queue)
            return JobsView(jobs=views, cursor=found.cursor, unreadable=list(found.unreadable))

        return await self.calls.call(look)

    async def cancel(self, job_id: str, owner: str) -> JobView:
        """Cancel a job and return what is left of it; a final one stays as it is. Raises NotFound."""

        def cancel() -> JobView:
            job = self.store.cancel(job_id, owner)
            if job is None:
                raise NotFound(NO_JOB)
            return self.build_views([job])[0]

        return await self.calls.call(cancel)

    def build_views(self, jobs: Sequence[Job], *, queue: bool = True) -> list[JobView]:
        """Return what callers see of jobs, with their places in the queue. Talks to Redis: call it in a thread."""
        estimates = self.store.estimates(job.id for job in jobs if queue and not job.state.final)
        return [job_view(job, self.links, estimates.get(job.id), self.keep) for job in jobs]

    def _find(self, job_id: str, owner: str | None) -> Job:
        try:
            job = self.store.get(job_id)
        except UnreadableRecord as fault:
            if owner not in (None, fault.owner):
                raise NotFound(NO_JOB) from fault
            raise
        if job is None or owner not in (None, job.owner):
            raise NotFound(NO_JOB)
        return job
