"""What is in a zip of jobs: their pictures, named by prompt and seed, and how each was made."""

from collections.abc import Iterable
from datetime import UTC, datetime

from app.client.file_names import BY_PROMPT, build_file_name
from app.storage.archived_picture import ArchivedPicture
from workers.contract.jobs.models import Image, Job, StylizeRequest

MOST_JOBS = 100


def archived_pictures(jobs: Iterable[Job | None]) -> list[ArchivedPicture]:
    """Return the pictures of those jobs that have any, in order, numbered from 1."""
    found = [
        (job, index, image)
        for job in jobs
        if job is not None and job.result is not None
        for index, image in enumerate(job.result.images)
    ]
    return [_archived(job, index, image, n) for n, (job, index, image) in enumerate(found, 1)]


def _archived(job: Job, index: int, image: Image, n: int) -> ArchivedPicture:
    request = job.request
    prompt = request.prompt if isinstance(request, StylizeRequest) else ""
    named = {"prompt": prompt, "method": request.method, "model": request.model, "job": job.id}
    file = build_file_name(BY_PROMPT, image.content_type, n=n, index=index, seed=image.seed, **named)
    told = {
        "job": job.id,
        "index": index,
        "seed": image.seed,
        "sha256": image.sha256,
        "recipe": request.model_dump(mode="json"),
    }
    return ArchivedPicture(file, image.blob, job.finished_at or datetime.now(UTC), told)
