"""Jobs: look at one or all, cancel, delete, fetch the pictures."""

import re
import unicodedata
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from app.api.conditional import KeptCopyDep, picture_docs, published_picture_response
from app.api.problems import problem_docs
from app.api.responses import zip_docs, zip_response
from app.dependencies import ArchivesDep, DeleterDep, JobsDep, LinksDep, OwnerDep, SenderDep, StylesDep, ViewerDep
from app.errors import Fault, Invalid, NotFound
from app.schemas.job import JobsView, JobView, PartialJobsView
from app.services.archive import MOST_JOBS
from app.services.styles.service import StyleService
from workers.contract.errors import UnreadableRecord
from workers.contract.jobs.models import State
from workers.contract.jobs.results import JobFilter
from workers.techniques import registry

router = APIRouter(tags=["jobs"])

JobId = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="the job's id")]
Expires = Annotated[str | None, Query(pattern=r"^[1-9][0-9]{0,11}$", description="when a signed address ends")]
Cursor = Annotated[str | None, Query(max_length=64, pattern=r"^[0-9]+$", description="of the page before")]
CancelOnly = Annotated[bool, Query(description="never delete: 200 with what is there, final or not")]
Signature = Annotated[str | None, Query(max_length=64, description="what a signed address ends with")]
SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
FIELDS_HELP = "only these fields of each job, separated by commas: id,state,progress for a light look; `id` always"


def parse_fields(text: str | None) -> set[str]:
    """Return the fields of a job that are asked for; none for all. Raises Invalid naming those that there are not."""
    asked = {part.strip() for part in (text or "").split(",") if part.strip()}
    if unknown := sorted(asked - set(JobView.model_fields)):
        known = ", ".join(JobView.model_fields)
        raise Invalid.of([Fault("#/fields", f"a job has no {', '.join(unknown)[:100]}; it has {known}")])
    return asked | {"id"} if asked else asked


async def wanted_jobs(
    styles: StylesDep,
    owner: OwnerDep,
    text: Annotated[str, Query(max_length=200, description="in the prompt, whatever its case")] = "",
    method: Annotated[str, Query(max_length=64, description="a technique, or a family's alias")] = "",
    model: Annotated[str, Query(max_length=64, description="the base model")] = "",
    created_after: Annotated[datetime | None, Query(description="at or after; UTC without an offset")] = None,
    created_before: Annotated[datetime | None, Query(description="before; UTC without an offset")] = None,
    style: Annotated[
        str | None,
        Query(
            max_length=64,
            pattern=r"^[A-Za-z0-9_-]+$",
            description="the id of a saved style, or a reference picture's sha256: jobs that use one of its pictures",
        ),
    ] = None,
) -> JobFilter:
    """Return which jobs a request wants. Raises Invalid for a style that there is not."""
    pictures = await _pictures_of(style, styles, owner) if style else frozenset()
    with suppress(KeyError):  # of a technique of another release jobs may still be there
        method = registry.resolve(method)
    after, before = (at.replace(tzinfo=at.tzinfo or UTC) if at else None for at in (created_after, created_before))
    return JobFilter(method, model, after, before, pictures, unicodedata.normalize("NFC", text.strip()))


async def _pictures_of(style: str, styles: StyleService, owner: str) -> frozenset[str]:
    """Return the picture that is meant, or those of the saved style. Raises Invalid when there is no such style."""
    if re.fullmatch(r"[0-9a-f]{64}", style):
        return frozenset({style})
    try:
        return frozenset(reference.sha256 for reference in (await styles.get(style, owner)).references)
    except NotFound as missing:
        raise Invalid.of([Fault("#/style", missing.detail)]) from missing


WantedDep = Annotated[JobFilter, Depends(wanted_jobs)]


@router.get("/jobs/{job_id}", summary="One job", responses=problem_docs(NotFound, Invalid))
async def read_job(job_id: JobId, jobs: JobsDep, owner: OwnerDep, response: Response) -> JobView:
    """State, progress, pictures and recipe of a job."""
    response.headers["Cache-Control"] = "no-store"
    return await jobs.get_view(job_id, owner)


@router.get(
    "/jobs",
    summary="All jobs",
    response_model=None,
    responses=problem_docs(Invalid) | {200: {"description": "A page", "model": JobsView | PartialJobsView}},
)
async def read_jobs(
    jobs: JobsDep,
    owner: OwnerDep,
    wanted: WantedDep,
    fields: Annotated[str | None, Query(max_length=400, description=FIELDS_HELP)] = None,
    state: Annotated[State | None, Query(description="only jobs in this state")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Cursor = None,
) -> Response:
    """The caller's jobs, newest first, a page at a time. A page may hold fewer than `limit` and still have a next.

    One request looks at a thousand jobs for what is asked for: follow `cursor` until it is null.
    """
    asked = parse_fields(fields)
    shows_queue = not asked or "queue" in asked
    page = await jobs.get_page(owner, wanted, state=state, limit=limit, cursor=cursor, queue=shows_queue)
    shown: dict[str, Any] | None = {"jobs": {"__all__": asked}, "cursor": True, "unreadable": True} if asked else None
    return Response(page.model_dump_json(include=shown), media_type="application/json")


@router.delete(
    "/jobs/{job_id}",
    summary="Cancel or delete a job",
    response_model=JobView,
    responses=problem_docs(NotFound, Invalid)
    | {
        200: {"description": "It was not final: it is canceled, or will be at its next step", "model": JobView},
        204: {"description": "It was final: it is deleted"},
    },
)
async def cancel_job(
    job_id: JobId,
    jobs: JobsDep,
    deleter: DeleterDep,
    owner: OwnerDep,
    cancel_only: CancelOnly = False,
) -> JobView | Response:
    """Cancels a job that waits or runs; deletes one that is final, which the status of the answer tells.

    A waiting job ends at once, a running one at its next step. Of a final one go its record, its pictures and previews,
    and those reference pictures that no other job or style names; another DELETE is answered 404.
    """
    job = None
    with suppress(UnreadableRecord):  # it is canceled all the same, then told
        job = await jobs.get(job_id, owner)
    if job is None or cancel_only or not job.state.final:
        return await jobs.cancel(job_id, owner)
    await deleter.delete(job)
    return Response(status_code=204)


@router.get(
    "/jobs/{job_id}/zip",
    summary="All pictures of a job",
    response_class=Response,
    responses=zip_docs(),
)
async def read_zip(job_id: JobId, jobs: JobsDep, archives: ArchivesDep, owner: OwnerDep) -> Response:
    """A zip of the pictures, named by prompt and seed as `01-a-boat-seed42.png`.

    `recipes.json` in it tells of each picture what made it.
    """
    return zip_response(archives, [await jobs.get(job_id, owner)], owner, f"{job_id}.zip")


@router.get(
    "/images.zip",
    summary="The pictures of some jobs",
    response_class=Response,
    responses=zip_docs(),
)
async def read_pictures(
    jobs: JobsDep,
    archives: ArchivesDep,
    owner: OwnerDep,
    job: Annotated[
        str,
        Query(
            pattern=r"^[A-Za-z0-9_-]{1,64}(,[A-Za-z0-9_-]{1,64})*$",
            max_length=65 * MOST_JOBS,
            description=f"ids of up to {MOST_JOBS} jobs, separated by commas, in the order of the zip",
        ),
    ],
) -> Response:
    """A zip as that of one job, of several; jobs that have no pictures are left out."""
    ids = list(dict.fromkeys(job.split(",")))
    if len(ids) > MOST_JOBS:
        raise Invalid.of([Fault("#/job", f"at most {MOST_JOBS} jobs, got {len(ids)}")])
    return zip_response(archives, await jobs.get_many(ids, owner), owner, "pictures.zip")


@router.get(
    "/jobs/{job_id}/images/{number}",
    summary="One picture",
    response_class=Response,
    responses=picture_docs("The picture", SUFFIXES),
)
async def read_image(
    job_id: JobId,
    number: Annotated[int, Path(ge=0, le=63)],
    jobs: JobsDep,
    links: LinksDep,
    sender: SenderDep,
    viewer: ViewerDep,
    kept: KeptCopyDep,
    expires: Expires = None,
    signature: Signature = None,
) -> Response:
    """A finished picture, or a part of it; it never changes, its ETag is its sha256."""
    if not links.admits(job_id, number, expires, signature):
        raise NotFound("this address has expired or was not handed out by us; fetch the job again")
    job = await jobs.get(job_id, viewer)
    if job.result is None or number >= len(job.result.images):
        raise NotFound("the job has no such picture")
    image = job.result.images[number]
    name = f"{job.id}-{number}.{SUFFIXES[image.content_type]}"
    return await published_picture_response(sender, kept, image, job.owner, name)
