"""Comparisons: one request for several methods, strengths or seeds; one group of jobs; one labelled sheet."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from app.api.conditional import KeptCopyDep, conditional_response, picture_docs
from app.api.headers import KEY_PARAMETER, REPLAYED, idempotency_key
from app.api.jobs import CancelOnly, Cursor
from app.api.problems import BUSY, problem_docs
from app.api.responses import zip_docs, zip_response
from app.dependencies import (
    ArchivesDep,
    BodiesDep,
    CallerDep,
    ComparisonsDep,
    ComparisonSubmitterDep,
    OwnerDep,
    SchemaDep,
    SenderDep,
    SheetsDep,
)
from app.errors import Conflict, InsufficientStorage, Invalid, NotFound
from app.schemas.comparison import ComparisonsView, ComparisonView
from app.services.comparisons.contact_sheet import sheet_tag
from app.services.comparisons.grid import comparison_schema
from app.uploads.receive import REFUSALS
from workers.contract.blobs.names import sheet_name
from workers.contract.errors import BlobMissing

PNG = "image/png"
router = APIRouter(tags=["comparisons"])

ComparisonId = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="the comparison's id")]


@router.post(
    "/comparisons",
    summary="Compare methods, strengths or seeds",
    status_code=202,
    response_model=ComparisonView,
    openapi_extra={"parameters": [KEY_PARAMETER]},
    responses=problem_docs(*REFUSALS, Conflict, Invalid, *BUSY, InsufficientStorage),
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
    Without files the form may come in the media types of `POST /stylize`; in JSON the three are lists.
    """
    key = idempotency_key(request)
    async with bodies.receive_form(request, comparison_schema(schema)) as form:
        comparison, created = await submitter.submit(form, caller=caller, key=key)
    view = await comparisons.get_view(comparison)
    headers = {"Location": view.links.self, "Cache-Control": "no-store"} | ({} if created else {REPLAYED: "true"})
    return Response(view.model_dump_json(), 202, headers, media_type="application/json")


@router.get("/comparisons", summary="All comparisons", responses=problem_docs(Invalid))
async def read_comparisons(
    comparisons: ComparisonsDep,
    owner: OwnerDep,
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
    cursor: Cursor = None,
) -> ComparisonsView:
    """The caller's comparisons, newest first, a page at a time, with the ids of their jobs."""
    return await comparisons.get_page(owner, limit=limit, cursor=cursor)


@router.get("/comparisons/{comparison_id}", summary="One comparison", responses=problem_docs(NotFound, Invalid))
async def read_comparison(
    comparison_id: ComparisonId, comparisons: ComparisonsDep, owner: OwnerDep, response: Response
) -> ComparisonView:
    """All its jobs as they are now, and how far they are together."""
    response.headers["Cache-Control"] = "no-store"
    return await comparisons.get_view(await comparisons.get(comparison_id, owner))


@router.delete(
    "/comparisons/{comparison_id}",
    summary="Cancel or delete a comparison",
    response_model=ComparisonView,
    responses=problem_docs(NotFound, Invalid)
    | {
        200: {"description": "Some jobs were not final: they are canceled", "model": ComparisonView},
        204: {"description": "All jobs were final: they are deleted, and the comparison"},
    },
)
async def cancel_comparison(
    comparison_id: ComparisonId, comparisons: ComparisonsDep, owner: OwnerDep, cancel_only: CancelOnly = False
) -> ComparisonView | Response:
    """Cancels the jobs that wait or run, the others stay; once all are final, deletes all, as DELETE of a job does."""
    comparison = await comparisons.get(comparison_id, owner)
    jobs = await comparisons.get_jobs(comparison)
    if cancel_only or not all(job is None or job.state.final for job in jobs):
        await comparisons.cancel(comparison)
        return await comparisons.get_view(comparison)
    await comparisons.delete(comparison)
    return Response(status_code=204)


@router.get(
    "/comparisons/{comparison_id}/zip",
    summary="All pictures of a comparison",
    response_class=Response,
    responses=zip_docs(),
)
async def read_comparison_zip(
    comparison_id: ComparisonId, comparisons: ComparisonsDep, archives: ArchivesDep, owner: OwnerDep
) -> Response:
    """A zip as that of a job, of the pictures that there are by now, in the order of the cells."""
    jobs = await comparisons.get_jobs(await comparisons.get(comparison_id, owner))
    return zip_response(archives, jobs, owner, f"{comparison_id}.zip")


@router.get(
    "/comparisons/{comparison_id}/sheet",
    summary="A comparison's contact sheet",
    response_class=Response,
    responses=picture_docs("The sheet", [PNG]),
)
async def read_sheet(
    comparison_id: ComparisonId,
    comparisons: ComparisonsDep,
    sheets: SheetsDep,
    sender: SenderDep,
    owner: OwnerDep,
    kept: KeptCopyDep,
) -> Response:
    """Prompt, references and all pictures of each job over their labels, once all jobs are final; grey for none.

    A row has the seeds of one method and strength, or where there is one seed the strengths of one method.
    """
    comparison = await comparisons.get(comparison_id, owner)
    jobs = await comparisons.get_jobs(comparison)
    holder = next((job for job in jobs if job is not None), None)
    if holder is None or not all(job is None or job.state.final for job in jobs):
        raise NotFound("there is a sheet once all jobs are final, as long as they are kept")
    tag = sheet_tag(jobs)
    name = sheet_name(holder.id, holder.token, tag)

    async def send(headers: Mapping[str, str]) -> Response:
        try:
            return await sender.answer(name, owner, PNG, headers, kept.wanted(tag))
        except BlobMissing:
            await sheets.write(name, comparison, jobs)
        return await sender.answer(name, owner, PNG, headers, kept.wanted(tag))

    return await conditional_response(tag, kept.if_none_match, send, {"Cache-Control": "private, no-cache"})
