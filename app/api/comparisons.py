"""Comparisons: one request for several methods, strengths or seeds; one group of jobs; one labelled sheet."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from app.api.conditional import IMMUTABLE
from app.api.problems import documented
from app.api.stylize import PARAMETER, idempotency_key
from app.dependencies import Calling, GatewayDep, OwnerDep, Services
from app.errors import Conflict, InsufficientStorage, Invalid, NotFound, TooManyJobs
from app.schemas.style import ComparisonView
from app.services.comparisons import grid
from app.services.comparisons.contact_sheet import draw_contact_sheet
from app.services.comparisons.submit import compare
from app.services.comparisons.view import comparison_view
from app.uploads.receive import REFUSALS, receive_form
from workers.contract.blobs import job_prefix
from workers.contract.errors import BlobMissing
from workers.contract.jobs.comparisons import Comparison
from workers.contract.jobs.models import Job

router = APIRouter(tags=["comparisons"])

ComparisonId = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="the comparison's id")]


@router.post(
    "/comparisons",
    summary="Compare methods, strengths or seeds",
    status_code=202,
    response_model=ComparisonView,
    openapi_extra={"parameters": [PARAMETER]},
    responses=documented(*REFUSALS, Conflict, Invalid, TooManyJobs, InsufficientStorage),
)
async def make_comparison(request: Request, services: GatewayDep, caller: Calling) -> Response:
    """Each method draws with each strength and each seed, from the same references: a job each, all or none of them.

    Each job counts as a request of the key, and the host's limit of cost holds for all of them together.

    `method`, `strength` and `seed` may be there several times, or hold values separated by commas; without a seed one
    is drawn for all. `params` holds each method's own by its name. Pictures that a method does not take are left out.
    """
    key = idempotency_key(request)
    async with receive_form(request, services, grid.schema(services.capabilities)) as form:
        group = await compare(services, form, caller=caller, key=key)
    shown = await services.call(comparison_view, services, group)
    headers = {"Location": shown.links.self, "Cache-Control": "no-store"}
    return Response(shown.model_dump_json(), 202, headers, media_type="application/json")


@router.get("/comparisons/{comparison_id}", summary="One comparison", responses=documented(NotFound, Invalid))
async def read_comparison(
    comparison_id: ComparisonId, services: GatewayDep, owner: OwnerDep, response: Response
) -> ComparisonView:
    """All its jobs as they are now, and how far they are together."""
    response.headers["Cache-Control"] = "no-store"
    return await services.call(comparison_view, services, await found(services, comparison_id, owner))


@router.delete("/comparisons/{comparison_id}", summary="Cancel a comparison", responses=documented(NotFound, Invalid))
async def cancel_comparison(comparison_id: ComparisonId, services: GatewayDep, owner: OwnerDep) -> ComparisonView:
    """Cancels all its jobs; finished ones stay as they are."""
    group = await found(services, comparison_id, owner)
    for cell in group.cells:
        await services.call(services.store.cancel, cell.job_id, owner)
    return await services.call(comparison_view, services, group)


@router.get(
    "/comparisons/{comparison_id}/sheet",
    summary="A comparison's contact sheet",
    response_class=Response,
    responses=documented(NotFound, Invalid) | {200: {"description": "The sheet", "content": {"image/png": {}}}},
)
async def read_sheet(comparison_id: ComparisonId, services: GatewayDep, owner: OwnerDep) -> Response:
    """The first picture of each job over its label, once all jobs are final; grey where a job has none."""
    group = await found(services, comparison_id, owner)
    known = await services.call(services.store.many, [cell.job_id for cell in group.cells])
    jobs = [known.get(cell.job_id) for cell in group.cells]
    first = jobs[0]
    if first is None or not all(job is None or job.state.final for job in jobs):
        raise NotFound("there is a sheet once all jobs are final, as long as they are kept")
    name = f"{job_prefix(first.id)}{first.token}/sheet.png"
    try:
        return await services.pictures.answer(name, owner, "image/png", IMMUTABLE)
    except BlobMissing:
        async with services.drawing:
            pictures = [await services.blob_calls.call(first_picture, services, job) for job in jobs]
            labels = [cell.label for cell in group.cells]
            sheet = await draw_contact_sheet(list(zip(labels, pictures, strict=True)))
        await services.blob_calls.call(services.blobs.put, name, sheet, content_type="image/png", if_absent=False)
    return await services.pictures.answer(name, owner, "image/png", IMMUTABLE)


async def found(services: Services, comparison_id: str, owner: str) -> Comparison:
    """Return the caller's group. Raises NotFound."""
    group = await services.call(services.groups.get, comparison_id, owner)
    if group is None:
        raise NotFound("there is no such comparison")
    return group


def first_picture(services: Services, job: Job | None) -> bytes:
    """Return the file of a job's first picture; empty when it has none."""
    return services.blobs.get(job.result.images[0].blob) if job and job.result and job.result.images else b""
