"""`GET /jobs/{id}/preview`: what a running job is becoming."""

import hashlib
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from app.deps import Viewer, With
from app.errors import Invalid, NotFound
from app.kept import unless_kept
from app.links import PREVIEW
from app.lookup import owned
from app.problems import documented
from app.routes.jobs import Expires, JobId

router = APIRouter(tags=["jobs"])
JPEG = "image/jpeg"


@router.get(
    "/jobs/{job_id}/preview",
    summary="What a job is becoming",
    response_class=Response,
    responses=documented(NotFound, Invalid)
    | {
        200: {"description": "The newest preview, a small JPEG", "content": {JPEG: {}}},
        304: {"description": "The caller has it already"},
    },
)
async def read_preview(
    job_id: JobId,
    services: With,
    viewer: Viewer,
    step: Annotated[int | None, Query(ge=0, description="makes the address of each preview another one")] = None,
    expires: Expires = None,
    signature: Annotated[str | None, Query(max_length=64)] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The newest preview of a running job: one pixel per latent cell, at most 256 a side, of the picture in the works.

    A job has none before its first steps, nor once it is final; its `preview` is null then.
    """
    if not services.links.admits(job_id, PREVIEW, expires, signature):
        raise NotFound("this address has expired or was not handed out by us; fetch the job again")
    await services.call(owned, services, job_id, viewer)
    picture = await services.call(services.previews.get, job_id)
    if picture is None:
        raise NotFound("the job has no preview now")
    tag = hashlib.blake2b(picture, digest_size=9).hexdigest()

    async def send(headers: Mapping[str, str]) -> Response:
        return Response(picture, media_type=JPEG, headers=headers)

    return await unless_kept(tag, if_none_match, send, {"Cache-Control": "private, no-cache"})
