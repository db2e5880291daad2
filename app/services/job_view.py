"""What callers see of a job, built from its record."""

from datetime import timedelta

from app.auth.signed_urls import Links
from app.schemas.job import CacheView, ControlMapView, FailureView, ImageView, JobView, LinksView, QueueView
from workers.contract.jobs.models import Job, Progress, State
from workers.contract.jobs.results import QueueEstimate


def job_view(job: Job, links: Links, estimate: QueueEstimate | None, keep: timedelta) -> JobView:
    """Return what callers see of a job, which is kept for a while once it is final."""
    result = job.result
    return JobView(
        id=job.id,
        kind=job.kind,
        state=job.state,
        method=job.request.method,
        model=job.request.model,
        priority=job.priority,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        expires_at=job.finished_at + keep if job.finished_at else None,
        progress=_progress(job),
        preview=None if job.preview is None else links.preview(job.id, job.preview),
        queue=_queue(estimate),
        images=_images(job, links),
        control_map=_control_map(job, links),
        error=_failure(job),
        warnings=list(result.warnings) if result else [],
        timings=result.timings if result else None,
        gpu_seconds=result.gpu_seconds if result else None,
        cache=CacheView(style=result.style_cache if result else "none"),
        attempts=job.attempts,
        comparison=job.comparison,
        recipe=job.request,
        links=_links(job, links),
    )


def _progress(job: Job) -> Progress | None:
    """Return how far a job is; one that has succeeded is through, whatever its worker's last word was."""
    if job.state is not State.SUCCEEDED:
        return job.progress
    steps = job.progress.steps if job.progress else 0
    return Progress(stage="publish", step=steps, steps=steps, fraction=1.0)


def _images(job: Job, links: Links) -> list[ImageView]:
    if job.result is None:
        return []
    addresses = (links.image(job.id, number) for number in range(len(job.result.images)))
    return [
        ImageView(**image.model_dump(exclude={"blob"}), url=url, expires_at=expires)
        for image, (url, expires) in zip(job.result.images, addresses, strict=True)
    ]


def _control_map(job: Job, links: Links) -> ControlMapView | None:
    if job.result is None or job.result.control_map is None:
        return None
    url, expires = links.control_map(job.id)
    return ControlMapView(**job.result.control_map.model_dump(exclude={"blob"}), url=url, expires_at=expires)


def _queue(estimate: QueueEstimate | None) -> QueueView | None:
    if estimate is None:
        return None
    return QueueView(
        position=estimate.position,
        eta_start_seconds=estimate.start_seconds,
        eta_finish_seconds=estimate.finish_seconds,
    )


def _links(job: Job, links: Links) -> LinksView:
    address = links.job(job.id)
    final = job.state.final
    return LinksView(
        self=address,
        events=f"{address}/events",
        cancel=None if final else f"{address}?cancel_only=true",
        delete=address if final else None,
        zip=f"{address}/zip" if job.result and job.result.images else None,
    )


def _failure(job: Job) -> FailureView | None:
    if job.failure is None:
        return None
    return FailureView(type=f"urn:stylize:job:{job.failure.code}", code=job.failure.code, detail=job.failure.detail)
