"""`POST /stylize`: ask for pictures."""

from typing import Annotated

from fastapi import APIRouter, Header
from starlette.requests import Request
from starlette.responses import JSONResponse

from app.deps import Owner, With
from app.errors import BodyTimeout, Conflict, Invalid, Malformed, TooLarge, TooManyJobs, UnsupportedMedia
from app.intake.form import FormReader, boundary_of, read
from app.problems import documented
from app.schemas import JobView, view
from app.submission import submit

router = APIRouter(tags=["stylize"])

KEY_PATTERN = r"^[\x21-\x7e]+$"


@router.post(
    "/stylize",
    summary="Ask for pictures in the style of a reference",
    status_code=202,
    response_model=JobView,
    responses=documented(Malformed, BodyTimeout, Conflict, TooLarge, UnsupportedMedia, Invalid, TooManyJobs)
    | {
        202: {"description": "Accepted; `Location` is the job", "headers": {"Location": {"schema": {"type": "string"}}}}
    },
)
async def stylize(
    request: Request,
    services: With,
    owner: Owner,
    idempotency_key: Annotated[
        str | None,
        Header(max_length=255, pattern=KEY_PATTERN, description="the same key and request: the first answer again"),
    ] = None,
) -> JSONResponse:
    """Everything is checked before anything is stored; an accepted job is on disk when this answers."""
    settings = services.settings
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMedia("the body must not be compressed")
    boundary = boundary_of(request.headers.get("content-type"))
    services.budget.enter()
    reader = FormReader(services.offer.shape, services.budget, boundary)
    try:
        await read(request.receive, reader, limit=settings.gateway_body_bytes, seconds=settings.gateway_form_seconds)
        submission = await submit(services, reader.form, owner=owner, key=idempotency_key, source="api")
    finally:
        reader.form.close()
        services.budget.leave()
    seen = view(submission.job, services.links, position=None)
    return JSONResponse(seen.model_dump(mode="json"), 202, {"Location": seen.links.self, "Cache-Control": "no-store"})
