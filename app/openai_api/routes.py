"""The OpenAI-shaped door: `POST /v1/images/edits` and `/v1/images/generations` make jobs as `POST /stylize` does."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from app.api.headers import KEY_PARAMETER, REPLAYED, idempotency_key
from app.api.problems import BUSY, problem_docs
from app.dependencies import BodiesDep, CapabilitiesDep, OwnerDep, SchemaDep, SubmitterDep
from app.errors import Conflict, InsufficientStorage, Invalid
from app.openai_api.responses import NotDone, OpenAIRoute, PictureJobFailed, PictureResponder, PicturesView
from app.openai_api.translate import FORMATS, MOST_IMAGES, faults_of, form_of, image_api_schema, translate
from app.uploads.form_schema import FILE
from app.uploads.multipart import Form
from app.uploads.receive import REFUSALS, multipart
from workers.contract.jobs.results import Submission

router = APIRouter(tags=["openai"], route_class=OpenAIRoute)


@dataclass(frozen=True)
class ImageSubmitter:
    """Submits what OpenAI's clients ask for as the job of `POST /stylize` that means the same."""

    schema: SchemaDep
    capabilities: CapabilitiesDep
    submitter: SubmitterDep
    responder: Annotated[PictureResponder, Depends(PictureResponder)]
    owner: OwnerDep

    async def submit(self, request: Request, form: Form) -> tuple[Submission, str]:
        """Submit a form; return what came of it and the format in which its pictures are wanted. Raises a Problem."""
        key = idempotency_key(request)
        try:
            wanted = translate(form, self.capabilities, self.schema)
            submission = await self.submitter.submit(form, owner=self.owner, key=key, source="openai")
        except Invalid as invalid:
            raise type(invalid).of(faults_of(invalid, form)) from invalid
        return submission, wanted

    async def respond(self, request: Request, submission: Submission, wanted: str) -> Response:
        """Answer with the pictures of a job, and whether an earlier request made it. Raises a Problem."""
        answer = await self.responder.respond(request, submission.job, wanted)
        if not submission.created:
            answer.headers[REPLAYED] = "true"
        return answer


ImagesDep = Annotated[ImageSubmitter, Depends(ImageSubmitter)]

REFUSED = problem_docs(*REFUSALS, Conflict, Invalid, *BUSY, InsufficientStorage, PictureJobFailed, NotDone)
SHARED: dict[str, Any] = {
    "prompt": {"type": "string", "maxLength": 2000},
    "model": {
        "type": "string",
        "description": "one of `GET /v1/models`: a method, or a base model (the method then in `method`); or one of "
        "OpenAI's, for the default method",
    },
    "n": {"type": "integer", "minimum": 1, "maximum": 8},
    "size": {
        "type": "string",
        "examples": ["512x512", "auto"],
        "description": "auto: the model's own. Of far more pixels than that the model draws its own size in these "
        "proportions, as the answer's `size` tells; `width` and `height` are taken as they are",
    },
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
            "description": "style references; where a method draws a picture anew, or with a mask, the first is that "
            "picture",
        },
        "mask": FILE
        | {
            "description": "for methods that take one: what is transparent in it is painted anew of the first image; "
            "without transparency, what is white"
        },
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
async def edit_images(request: Request, bodies: BodiesDep, images: ImagesDep) -> Response:
    """Waits for the job and answers with its pictures; one that takes longer than the host allows is canceled."""
    async with bodies.receive_form(request, image_api_schema(images.schema)) as form:
        submission, wanted = await images.submit(request, form)
    return await images.respond(request, submission, wanted)


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
async def generate_images(request: Request, bodies: BodiesDep, images: ImagesDep) -> Response:
    """As `/v1/images/edits`, from JSON: the style comes by `style_id`, a recipe, or from the method itself."""
    submission, wanted = await images.submit(request, form_of(await bodies.receive_json(request), images.schema))
    return await images.respond(request, submission, wanted)
