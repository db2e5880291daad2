"""Webhooks: what was sent, send it again, and the secret that signs it."""

from fastapi import APIRouter
from starlette.responses import Response

from app.api.jobs import JobId
from app.api.problems import problem_docs
from app.dependencies import CallerDep, CallsDep, JobsDep, OutboxDep, OwnerDep
from app.errors import Forbidden, Invalid, NotFinished, NotFound, RateLimited
from app.schemas.webhook import DeliveriesView, SecretView

router = APIRouter(tags=["webhooks"])


@router.get("/jobs/{job_id}/deliveries", summary="Calls of a job's webhook", responses=problem_docs(NotFound, Invalid))
async def read_deliveries(
    job_id: JobId, jobs: JobsDep, outbox: OutboxDep, calls: CallsDep, owner: OwnerDep
) -> DeliveriesView:
    """The last attempts to call the job's `webhook_url`, the oldest first."""
    await jobs.get(job_id, owner)
    return DeliveriesView(deliveries=await calls.call(outbox.log, job_id))


@router.post(
    "/jobs/{job_id}/deliveries",
    summary="Call a job's webhook again",
    status_code=202,
    response_class=Response,
    responses=problem_docs(NotFound, NotFinished, Invalid, RateLimited),
)
async def replay_delivery(
    job_id: JobId, jobs: JobsDep, outbox: OutboxDep, calls: CallsDep, owner: OwnerDep
) -> Response:
    """The call is made again soon, under the same `webhook-id`, with all its retries."""
    await jobs.get(job_id, owner)
    match await calls.call(outbox.replay, job_id):
        case "none":
            raise NotFound("the job has no webhook")
        case "open":
            raise NotFinished("the webhook is called once the job is final")
    return Response(status_code=202)


@router.get("/webhooks/secret", summary="What signs your webhooks", responses=problem_docs())
async def read_secret(outbox: OutboxDep, calls: CallsDep, who: CallerDep, response: Response) -> SecretView:
    """The caller's own secret, for any Standard Webhooks library; needs the scope `write`, as making jobs does."""
    if "write" not in who.scopes:
        raise Forbidden("this key lacks the scope write")
    response.headers["Cache-Control"] = "no-store"
    return SecretView(secret=await calls.call(outbox.secret, who.owner))
