"""Webhooks: what was sent, send it again, and the secret that signs it."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from app.api.jobs import JobId
from app.api.problems import documented
from app.auth.keyring import Caller
from app.dependencies import GatewayDep, OwnerDep, caller
from app.errors import Forbidden, Invalid, NotFinished, NotFound, RateLimited
from app.schemas.webhook import DeliveriesView, SecretView
from app.services.jobs import get_owned_job

router = APIRouter(tags=["webhooks"])


@router.get("/jobs/{job_id}/deliveries", summary="Calls of a job's webhook", responses=documented(NotFound, Invalid))
async def read_deliveries(job_id: JobId, services: GatewayDep, owner: OwnerDep) -> DeliveriesView:
    """The last attempts to call the job's `webhook_url`, the oldest first."""
    await services.call(get_owned_job, services, job_id, owner)
    return DeliveriesView(deliveries=await services.call(services.outbox.log, job_id))


@router.post(
    "/jobs/{job_id}/deliveries",
    summary="Call a job's webhook again",
    status_code=202,
    response_class=Response,
    responses=documented(NotFound, NotFinished, Invalid, RateLimited),
)
async def replay_delivery(job_id: JobId, services: GatewayDep, owner: OwnerDep) -> Response:
    """The call is made again soon, under the same `webhook-id`, with all its retries."""
    await services.call(get_owned_job, services, job_id, owner)
    match await services.call(services.outbox.replay, job_id):
        case "none":
            raise NotFound("the job has no webhook")
        case "open":
            raise NotFinished("the webhook is called once the job is final")
    return Response(status_code=202)


@router.get("/webhooks/secret", summary="What signs your webhooks", responses=documented())
async def read_secret(services: GatewayDep, who: Annotated[Caller, Depends(caller)], response: Response) -> SecretView:
    """The caller's own secret, for any Standard Webhooks library; needs the scope `write`, as making jobs does."""
    if "write" not in who.scopes:
        raise Forbidden("this key lacks the scope write")
    response.headers["Cache-Control"] = "no-store"
    return SecretView(secret=await services.call(services.outbox.secret, who.owner))
