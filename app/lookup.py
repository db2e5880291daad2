"""A caller's own job, and what the caller gets to see of it. Both talk to the store: call them in a thread."""

from app.deps import Services
from app.errors import NotFound
from app.schemas import JobView, view
from workers.contract.job import Job


def owned(services: Services, job_id: str, owner: str) -> Job:
    """Return the caller's job. Raises NotFound, also for another caller's."""
    job = services.store.get(job_id)
    if job is None or job.owner != owner:
        raise NotFound("there is no such job")
    return job


def seen(services: Services, job: Job) -> JobView:
    """Return what callers see of a job, with its place in the queue and when it will be done."""
    return view(job, services.links, None if job.state.final else services.store.outlook(job))
