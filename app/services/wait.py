"""The answer to who has just asked for a job: the job as it is, or finished when the caller would rather wait."""

import time

from starlette.responses import Response

from app.api.headers import APPLIED, wait_seconds
from app.dependencies import Services
from app.errors import TooManyStreams
from app.schemas.job import view
from app.services.access import Access
from app.services.jobs import seen
from workers.contract.jobs.models import Job
from workers.contract.jobs.results import Submission


async def submission_response(services: Services, submission: Submission, prefer: str | None) -> Response:
    """Return 202 with the job; with a `Prefer: wait` that was kept 200 with the finished job."""
    wait = wait_seconds(prefer, services.settings.gateway_wait_seconds)
    job = submission.job if wait is None else await wait_until_final(services, submission.job, wait)
    if wait is None and submission.estimate is not None:
        shown = view(job, services.links, submission.estimate)
    else:
        shown = await services.call(seen, services, job)
    headers = {"Location": shown.links.self, "Cache-Control": "no-store"}
    if wait is not None:
        headers[APPLIED] = f"wait={wait}"
    status = 200 if wait is not None and job.state.final else 202
    return Response(shown.model_dump_json(), status, headers, media_type="application/json")


async def wait_until_final(services: Services, job: Job, seconds: float) -> Job:
    """Return the job once it is final, or as it is when the time is up, too many wait or the gateway stops.

    Raises Unauthorized or Forbidden when the key by which it was asked for ends meanwhile.
    """
    until, access = time.monotonic() + seconds, Access(services, job.owner, "write")
    try:
        with services.watch.watching(job.id, job.owner) as observer:
            while True:
                current = await services.call(services.store.get, job.id)
                job = current or job
                if job.state.final or observer.closed or time.monotonic() >= until:
                    return job
                await access.await_news(observer, until - time.monotonic())
    except TooManyStreams:
        return job
