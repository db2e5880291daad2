"""The answer to who has just asked for a job: the job as it is, or finished when the caller would rather wait."""

from starlette.responses import Response

from app.api.headers import APPLIED, wait_seconds
from app.services.jobs import JobService
from app.services.wait import JobWaiter
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
    view = await jobs.get_view_of(job, estimate)
    headers["Location"] = view.links.self
    status = 200 if wait is not None and job.state.final else 202
    return Response(view.model_dump_json(), status, headers, media_type="application/json")
