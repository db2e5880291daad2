"""The OpenAI-shaped door: `POST /v1/images/edits` and `/v1/images/generations` make jobs as `POST /stylize` does."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from app.api.headers import KEY_PARAMETER, idempotency_key
from app.api.problems import problem_docs
from app.dependencies import BodiesDep, CapabilitiesDep, OwnerDep, SchemaDep, SubmitterDep
from app.errors import Conflict, InsufficientStorage, Invalid, TooManyJobs
from app.openai_api.responses import NotDone, OpenAIRoute, PictureJobFailed, PictureResponder, PicturesView
from app.openai_api.translate import FORMATS, MOST_IMAGES, edits_schema, form_of, translate
from app.uploads.form_schema import FILE
from app.uploads.receive import REFUSALS, multipart

router = APIRouter(tags=["openai"], route_class=OpenAIRoute)

ResponderDep = Annotated[PictureResponder, Depends(PictureResponder)]

REFUSED = problem_docs(*REFUSALS, Conflict, Invalid, TooManyJobs, InsufficientStorage, PictureJobFailed, NotDone)
SHARED: dict[str, Any] = {
    "prompt": {"type": "string", "maxLength": 2000},
    "model": {
        "type": "string",
        "description": "a method, a base model (the method then in `method`), or one of OpenAI's: the default method",
    },
    "n": {"type": "integer", "minimum": 1, "maximum": 8},
    "size": {"type": "string", "examples": ["512x512", "auto"], "description": "auto: the model's own"},
    "output_format": {"type": "string", "enum": ["png", "jpeg", "webp"]},
    "response_format": {"type": "string", "enum": list(FORMATS), "default": FORMATS[0]},
    "user": {"type": "string", "description": "not used"},
    "quality": {"type": "string", "description": "not used"},
}
PASSED_ON = "Fields of `POST /stylize`, such as `method`, `style_id`, `strength`, `seed` or `params`, pass through."
EDITS = {
    "type": "object",
    "description": PASSED_ON,
    "properties": SHARED
    | {
        "image": {
            "type": "array",
            "items": FILE,
            "maxItems": MOST_IMAGES,
            "description": "style references; where a method draws a picture anew, the first is that picture",
        }
    },
}
GENERATIONS = {
    "type": "object",
    "description": PASSED_ON,
    "required": ["prompt"],
    "properties": SHARED,
    "example": {"model": "signal-leak", "prompt": "a house by a lake", "style_id": "..."},
}


@router.post(
    "/v1/images/edits",
    summary="Pictures in the style of others, as OpenAI's clients ask for them",
    response_model=PicturesView,
    openapi_extra={"parameters": [KEY_PARAMETER], "requestBody": multipart(EDITS, {})},
    responses=REFUSED,
)
async def edit_images(
    request: Request,
    bodies: BodiesDep,
    schema: SchemaDep,
    capabilities: CapabilitiesDep,
    submitter: SubmitterDep,
    responder: ResponderDep,
    owner: OwnerDep,
) -> Response:
    """Waits for the job and answers with its pictures; one that takes longer than the host allows is canceled."""
    key = idempotency_key(request)
    async with bodies.receive_form(request, edits_schema(schema)) as form:
        wanted = translate(form, capabilities, schema)
        submission = await submitter.submit(form, owner=owner, key=key, source="openai")
    return await responder.respond(request, submission.job, wanted)


@router.post(
    "/v1/images/generations",
    summary="Pictures in a saved style, as OpenAI's clients ask for them",
    response_model=PicturesView,
    openapi_extra={
        "parameters": [KEY_PARAMETER],
        "requestBody": {"required": True, "content": {"application/json": {"schema": GENERATIONS}}},
    },
    responses=REFUSED,
)
async def generate_images(
    request: Request,
    bodies: BodiesDep,
    schema: SchemaDep,
    capabilities: CapabilitiesDep,
    submitter: SubmitterDep,
    responder: ResponderDep,
    owner: OwnerDep,
) -> Response:
    """As `/v1/images/edits`, from JSON: the style comes by `style_id`, a recipe, or from the method itself."""
    key = idempotency_key(request)
    form = form_of(await bodies.receive_json(request), schema)
    wanted = translate(form, capabilities, schema)
    submission = await submitter.submit(form, owner=owner, key=key, source="openai")
    return await responder.respond(request, submission.job, wanted)
