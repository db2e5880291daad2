"""For those who run the service: is it alive, can it serve, what does it do."""

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from app.dependencies import BlobCallsDep, CallsDep, MetricsDep, ReadinessDep, SettingsDep, StoreDep
from app.observability import queue_metrics
from app.schemas.catalogue import HealthView
from app.services.readiness import OK

router = APIRouter(tags=["operation"])


@router.get("/livez", summary="Is the gateway alive?", response_class=Response, status_code=204)
async def livez() -> Response:
    """Answers as long as the process runs; says nothing about what it needs."""
    return Response(status_code=204)


@router.get(
    "/readyz",
    summary="Can jobs be run?",
    response_model=HealthView,
    responses={503: {"model": HealthView, "description": "Something is missing"}},
)
async def readyz(readiness: ReadinessDep, calls: BlobCallsDep) -> JSONResponse:
    """200 once Redis, the blob store and a warm worker are there; 503 says which is missing.

    `models` tells how each served model stands: warm, loading, or what fetches it.
    """
    seen = await calls.call(readiness.look)
    ready = all(state == OK for state in seen.checks.values())
    health = HealthView(status="ready" if ready else "not ready", checks=dict(seen.checks), models=dict(seen.models))
    headers = {"Cache-Control": "no-store"} | ({} if ready else {"Retry-After": "1"})
    return JSONResponse(health.model_dump(), 200 if ready else 503, headers)


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics(metrics: MetricsDep, store: StoreDep, calls: CallsDep, settings: SettingsDep) -> Response:
    """The gateway's metrics and the queue's, in Prometheus' text format."""
    facts = await calls.call(queue_metrics.look, store, settings.blob_url)
    return Response(metrics.text() + queue_metrics.text(facts), media_type=CONTENT_TYPE_LATEST)
