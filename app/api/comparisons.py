"""Comparisons: one request for several methods, strengths or seeds; one group of jobs; one labelled sheet."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from app.api.conditional import IMMUTABLE
from app.api.headers import KEY_PARAMETER, idempotency_key
from app.api.problems import problem_docs
from app.dependencies import (
    BodiesDep,
    CallerDep,
    ComparisonsDep,
    ComparisonSubmitterDep,
    OwnerDep,
    SchemaDep,
    SenderDep,
    SheetsDep,
)
from app.errors import Conflict, InsufficientStorage, Invalid, NotFound, TooManyJobs
from app.schemas.comparison import ComparisonView
from app.services.comparisons.grid import comparison_schema
from app.uploads.receive import REFUSALS
from workers.contract.blobs import job_prefix
from workers.contract.errors import BlobMissing

router = APIRouter(tags=["comparisons"])

ComparisonId = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="the comparison's id")]


@router.post(
    "/comparisons",
    summary="Compare methods, strengths or seeds",
    status_code=202,
    response_model=ComparisonView,
    openapi_extra={"parameters": [KEY_PARAMETER]},
    responses=problem_docs(*REFUSALS, Conflict, Invalid, TooManyJobs, InsufficientStorage),
)
async def make_comparison(
    request: Request,
    bodies: BodiesDep,
    schema: SchemaDep,
    submitter: ComparisonSubmitterDep,
    comparisons: ComparisonsDep,
    caller: CallerDep,
) -> Response:
    """Each method draws with each strength and each seed, from the same references: a job each, all or none of them.

    Each job counts as a request of the key, and the host's limit of cost holds for all of them together.

    `method`, `strength` and `seed` may be there several times, or hold values separated by commas; without a seed one
    is drawn for all. `params` holds each method's own by its name. Pictures that a method does not take are left out.
    """
    key = idempotency_key(request)
    async with bodies.receive_form(request, comparison_schema(schema)) as form:
        comparison = await submitter.submit(form, caller=caller, key=key)
    view = await comparisons.get_view(comparison)
    headers = {"Location": view.links.self, "Cache-Control": "no-store"}
    return Response(view.model_dump_json(), 202, headers, media_type="application/json")


@router.get("/comparisons/{comparison_id}", summary="One comparison", responses=problem_docs(NotFound, Invalid))
async def read_comparison(
    comparison_id: ComparisonId, comparisons: ComparisonsDep, owner: OwnerDep, response: Response
) -> ComparisonView:
    """All its jobs as they are now, and how far they are together."""
    response.headers["Cache-Control"] = "no-store"
    return await comparisons.get_view(await comparisons.get(comparison_id, owner))


@router.delete("/comparisons/{comparison_id}", summary="Cancel a comparison", responses=problem_docs(NotFound, Invalid))
async def cancel_comparison(
    comparison_id: ComparisonId, comparisons: ComparisonsDep, owner: OwnerDep
) -> ComparisonView:
    """Cancels all its jobs; finished ones stay as they are."""
    comparison = await comparisons.get(comparison_id, owner)
    await comparisons.cancel(comparison)
    return await comparisons.get_view(comparison)


@router.get(
    "/comparisons/{comparison_id}/sheet",
    summary="A comparison's contact sheet",
    response_class=Response,
    responses=problem_docs(NotFound, Invalid) | {200: {"description": "The sheet", "content": {"image/png": {}}}},
)
async def read_sheet(
    comparison_id: ComparisonId, comparisons: ComparisonsDep, sheets: SheetsDep, sender: SenderDep, owner: OwnerDep
) -> Response:
    """The first picture of each job over its label, once all jobs are final; grey where a job has none."""
    comparison = await comparisons.get(comparison_id, owner)
    jobs = await comparisons.get_jobs(comparison)
    first = jobs[0]
    if first is None or not all(job is None or job.state.final for job in jobs):
        raise NotFound("there is a sheet once all jobs are final, as long as they are kept")
    name = f"{job_prefix(first.id)}{first.token}/sheet.png"
    try:
        return await sender.answer(name, owner, "image/png", IMMUTABLE)
    except BlobMissing:
        await sheets.write(name, [cell.label for cell in comparison.cells], jobs)
    return await sender.answer(name, owner, "image/png", IMMUTABLE)
