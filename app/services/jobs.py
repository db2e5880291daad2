"""A caller's own job, and what the caller gets to see of it. Both talk to the store: call them in a thread."""

from collections.abc import Sequence

from app.dependencies import Services
from app.errors import NotFound
from app.schemas.job import JobView, view
from workers.contract.errors import UnreadableRecord
from workers.contract.jobs.models import Job


def get_owned_job(services: Services, job_id: str, owner: str | None) -> Job:
    """Return the owner's job (None: anyone's). Raises NotFound, also for another's, and UnreadableRecord."""
    try:
        job = services.store.get(job_id)
    except UnreadableRecord as fault:
        if owner not in (None, fault.owner):
            raise NotFound("there is no such job") from fault
        raise
    if job is None or owner not in (None, job.owner):
        raise NotFound("there is no such job")
    return job


def seen(services: Services, job: Job) -> JobView:
    """Return what callers see of a job, with its place in the queue and when it will be done."""
    (shown,) = all_seen(services, [job])
    return shown


def all_seen(services: Services, jobs: Sequence[Job]) -> list[JobView]:
    """Return what callers see of some jobs; all estimates are asked for at once."""
    estimates = services.store.estimates(job.id for job in jobs if not job.state.final)
    return [view(job, services.links, estimates.get(job.id)) for job in jobs]
