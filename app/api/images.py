"""Pictures beside those asked for: what jobs and styles were made with, previews, and maps that jobs made."""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from app.api.conditional import (
    IMMUTABLE,
    IfNoneMatch,
    KeptCopyDep,
    conditional_response,
    picture_docs,
    published_picture_response,
)
from app.api.jobs import Expires, JobId, Signature
from app.auth.signed_urls import CONTROL_MAP, PREVIEW
from app.dependencies import CallsDep, JobsDep, LinksDep, OwnerDep, PreviewsDep, SenderDep, StoreDep, ViewerDep
from app.errors import NotFound
from workers.contract.blobs import input_name

router = APIRouter(tags=["jobs"])

Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="as a recipe or a style names the picture")]


@router.get(
    "/inputs/{sha256}",
    summary="One reference picture",
    response_class=Response,
    responses=picture_docs("The picture, as the service keeps it", ["image/png"]),
)
async def read_input(
    sha256: Digest,
    store: StoreDep,
    calls: CallsDep,
    sender: SenderDep,
    owner: OwnerDep,
    kept: KeptCopyDep,
) -> Response:
    """A style, content or control image, or a mask, that one of the caller's jobs or styles names; it never changes."""
    if await calls.call(store.unused, [sha256], owner):
        raise NotFound("none of your jobs or styles names such a picture")
    headers = IMMUTABLE | {"Content-Disposition": f'attachment; filename="{sha256[:16]}.png"'}
    send = partial(sender.answer, input_name(sha256), owner, "image/png", wanted=kept.wanted(sha256))
    return await conditional_response(sha256, kept.if_none_match, send, headers)


@router.get(
    "/jobs/{job_id}/control-map",
    summary="The map that a job made",
    response_class=Response,
    responses=picture_docs("The map", ["image/png"]),
)
async def read_control_map(
    job_id: JobId,
    jobs: JobsDep,
    links: LinksDep,
    sender: SenderDep,
    viewer: ViewerDep,
    kept: KeptCopyDep,
    expires: Expires = None,
    signature: Signature = None,
) -> Response:
    """The edges or depths that a job with `params.control` found in its control or content picture."""
    if not links.admits(job_id, CONTROL_MAP, expires, signature):
        raise NotFound("this address has expired or was not handed out by us; fetch the job again")
    job = await jobs.get(job_id, viewer)
    if job.result is None or job.result.control_map is None:
        raise NotFound("the job made no map")
    name = f"{job.id}-control-map.png"
    return await published_picture_response(sender, kept, job.result.control_map, job.owner, name)


JPEG = "image/jpeg"


@router.get(
    "/jobs/{job_id}/preview",
    summary="What a job is becoming",
    response_class=Response,
    responses=picture_docs("The newest preview, a small JPEG", [JPEG], parts=False),
)
async def read_preview(
    job_id: JobId,
    jobs: JobsDep,
    previews: PreviewsDep,
    calls: CallsDep,
    links: LinksDep,
    viewer: ViewerDep,
    step: Annotated[int | None, Query(ge=0, description="makes the address of each preview another one")] = None,
    expires: Expires = None,
    signature: Signature = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The newest preview of a running job: one pixel per latent cell, at most 256 a side, of the picture in the works.

    A job has none before its first steps, nor once it is final; its `preview` is null then.
    """
    if not links.admits(job_id, PREVIEW, expires, signature):
        raise NotFound("this address has expired or was not handed out by us; fetch the job again")
    await jobs.get(job_id, viewer)
    picture = await calls.call(previews.get, job_id)
    if picture is None:
        raise NotFound("the job has no preview now")
    tag = hashlib.blake2b(picture, digest_size=9).hexdigest()

    async def send(headers: Mapping[str, str]) -> Response:
        return Response(picture, media_type=JPEG, headers=headers)

    return await conditional_response(tag, if_none_match, send, {"Cache-Control": "private, no-cache"})
