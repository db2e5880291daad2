"""Answers that several routes give: to who has just asked for a job, and to who wants pictures as a zip."""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from app.api.headers import APPLIED, REPLAYED, wait_seconds
from app.api.problems import problem_docs
from app.errors import Invalid, NotFinished, NotFound
from app.services.archive import archived_pictures
from app.services.jobs import JobService
from app.services.wait import JobWaiter
from app.storage.archive import ArchiveSender
from workers.contract.jobs.models import Job
from workers.contract.jobs.results import Submission


async def submission_response(
    submission: Submission, prefer: str | None, jobs: JobService, waiter: JobWaiter
) -> Response:
    """Return 202 with the job; with a `Prefer: wait` that was kept 200 with the finished job."""
    wait = wait_seconds(prefer, waiter.longest)
    job, estimate, headers = submission.job, submission.estimate, {"Cache-Control": "no-store"}
    if wait is not None:
        job, estimate = await waiter.wait_until_final(job, wait), None
        headers[APPLIED] = f"wait={wait}"
    if not submission.created:
        headers[REPLAYED] = "true"
    view = await jobs.get_view_of(job, estimate)
    headers["Location"] = view.links.self
    status = 200 if wait is not None and job.state.final else 202
    return Response(view.model_dump_json(), status, headers, media_type="application/json")


def zip_docs() -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route that answers with `zip_response`."""
    return problem_docs(NotFound, NotFinished, Invalid) | {
        200: {"description": "The zip", "content": {"application/zip": {}}}
    }


def zip_response(archives: ArchiveSender, jobs: Sequence[Job | None], owner: str, file: str) -> Response:
    """Return a zip of the pictures of jobs. Raises NotFinished, NotFound where there are none (yet)."""
    pictures = archived_pictures(jobs)
    if not pictures and any(job is not None and not job.state.final for job in jobs):
        raise NotFinished("there are no pictures yet")
    if not pictures:
        raise NotFound("there are no pictures")
    return archives.answer(pictures, owner, file)
