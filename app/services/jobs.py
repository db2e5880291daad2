"""A caller's own job, and what the caller gets to see of it. Both talk to the store: call them in a thread."""

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
    return view(job, services.links, None if job.state.final else services.store.estimate(job))
