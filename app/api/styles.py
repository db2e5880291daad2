"""Styles: save references once, use them by id."""

import secrets
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.openapi import ENCODING, FILE
from app.api.problems import documented
from app.auth.keyring import Caller
from app.dependencies import Calling, GatewayDep, OwnerDep, Services
from app.errors import Fault, InsufficientStorage, Invalid, NotFound, TooManyJobs
from app.schemas.style import StylesView, StyleView
from app.services import precompute
from app.services.admission import admit, decoded, store
from app.uploads.fields import Field, text, weights
from app.uploads.multipart import Form, FormSchema
from app.uploads.receive import REFUSALS, multipart, receive_form
from app.uploads.validate import UNNAMED
from workers.contract.blobs.names import Sha256
from workers.contract.errors import ContractError
from workers.contract.jobs.admission import Admission, PutInputs
from workers.contract.jobs.models import Job, PrecomputeRequest
from workers.contract.styles.store import Style, StyleReference
from workers.techniques import registry

router = APIRouter(tags=["styles"])

MOST_REFERENCES = 10
MOST_NAME = 100
MOST_STYLES = 1000
FIELDS: dict[str, Field] = {
    "name": text("what people call it"),
    "style_weights": weights("one number per style image, separated by commas; default 1 each"),
}
METHODS = {
    "type": "array",
    "items": {"type": "string", "enum": [*registry.names(), *registry.ALIASES]},
    "maxItems": len(registry.names()) + len(registry.ALIASES),
}
MODEL = {"type": "string", "description": "the base model to prepare for; default: the first the host serves"}
PREPARED = {"precompute": METHODS | {"description": "methods to prepare the style for at once"}, "model": MODEL}
SHAPE = FormSchema((*FIELDS, *PREPARED), {"style_image": MOST_REFERENCES}, lists=("precompute",))
SCHEMA = {
    "type": "object",
    "required": ["name", "style_image"],
    "additionalProperties": False,
    "properties": {
        "name": FIELDS["name"].schema | {"minLength": 1, "maxLength": MOST_NAME},
        "style_weights": FIELDS["style_weights"].schema,
        "style_image": {"type": "array", "items": FILE, "minItems": 1, "maxItems": MOST_REFERENCES},
        **PREPARED,
    },
}
PRECOMPUTE_SHAPE = FormSchema(("method", "model"), {}, lists=("method",))
PRECOMPUTE_SCHEMA = {
    "type": "object",
    "required": ["method"],
    "additionalProperties": False,
    "properties": {"method": METHODS | {"minItems": 1, "description": "what to prepare for"}, "model": MODEL},
}
StyleId = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="the style's id")]


@router.post(
    "/styles",
    summary="Save a style",
    status_code=201,
    response_model=StyleView,
    openapi_extra={"requestBody": multipart(SCHEMA, {"style_image": ENCODING})},
    responses=documented(*REFUSALS, Invalid, TooManyJobs, InsufficientStorage),
)
async def save_style(request: Request, services: GatewayDep, caller: Calling) -> Response:
    """Keeps 1 to 10 references with weights until the style is deleted; `style_id` then stands for them.

    A method that takes fewer references than the style has uses the heaviest. A style keeps its look: when a method has
    changed how it draws since the style was saved, it refuses the style instead of drawing it differently.

    `precompute` names methods for which workers prepare it at once; see `POST /styles/{style_id}/precompute`. Each
    method counts as a request of the key, and the host's limit of cost holds for all of them together.
    """
    async with receive_form(request, services, SHAPE) as form:
        name, shares = described(form)
        unnamed = Style(
            id=secrets.token_hex(16),
            owner=caller.owner,
            name=name,
            references=tuple(StyleReference(sha256=UNNAMED, weight=share) for share in shares),
            versions={method: registry.spec(method).version for method in registry.names()},
            created_at=await services.call(services.store.now),
        )
        admission = await _admit(services, caller, _wanted(services, unnamed, form))
        async with decoded(services, form.uploads()) as pictures:
            style = _with_pictures(unnamed, [pictures[f"#/style_image/{n}"].sha256 for n in range(len(shares))])
            record = partial(_kept, services, style, _wanted(services, style, form))
            jobs = await store(services, caller.owner, pictures, record, admission=admission)
    precompute.notify_workers(services, jobs)
    [shown] = await services.call(precompute.style_views, services, [style])
    return JSONResponse(shown.model_dump(mode="json"), 201, {"Location": shown.links.self})


@router.post(
    "/styles/{style_id}/precompute",
    summary="Prepare a style",
    status_code=202,
    openapi_extra={"requestBody": multipart(PRECOMPUTE_SCHEMA, {})},
    responses=documented(*REFUSALS, NotFound, Invalid, TooManyJobs),
)
async def precompute_style(style_id: StyleId, request: Request, services: GatewayDep, caller: Calling) -> StyleView:
    """A worker computes what these methods need of the style, with their defaults, so that no job has to wait for it.

    Nothing happens where it is ready, or being prepared; `prepared` of the style tells how far it is. It is kept as
    long as the worker's cache has the room. A method that paints a content image again is prepared for content in the
    proportions of its default size.
    """
    style = await found(services, style_id, caller.owner)
    async with receive_form(request, services, PRECOMPUTE_SHAPE) as form:
        wanted = _asked(services, style, form, "method")
    await services.call(services.rates.count_jobs, caller, len(wanted), "#/method")
    precompute.notify_workers(services, await services.call(precompute.begin, services, style, wanted))
    return (await services.call(precompute.style_views, services, [style]))[0]


@router.get("/styles", summary="All styles", responses=documented(Invalid))
async def read_styles(
    services: GatewayDep,
    owner: OwnerDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=64, pattern=r"^[0-9]+$")] = None,
) -> StylesView:
    """The caller's styles, newest first, a page at a time."""

    def page() -> StylesView:
        styles, following = services.styles.page(owner, limit=limit, cursor=cursor)
        return StylesView(styles=precompute.style_views(services, styles), cursor=following)

    return await services.call(page)


@router.get("/styles/{style_id}", summary="One style", responses=documented(NotFound, Invalid))
async def read_style(style_id: StyleId, services: GatewayDep, owner: OwnerDep) -> StyleView:
    """A style's references, the versions of the techniques that it was saved for, and for which it is prepared."""
    style = await found(services, style_id, owner)
    return (await services.call(precompute.style_views, services, [style]))[0]


@router.delete("/styles/{style_id}", summary="Delete a style", status_code=204, responses=documented(NotFound, Invalid))
async def delete_style(style_id: StyleId, services: GatewayDep, owner: OwnerDep) -> Response:
    """Jobs that use it go on; its pictures go once no job needs them.

    Workers drop what they computed from its pictures, in memory and on disk, within seconds.
    """
    style = await found(services, style_id, owner)
    await services.call(precompute.cancel, services, style)
    if not await services.call(services.styles.delete, style_id, owner):
        raise NotFound("there is no such style")
    return Response(status_code=204)


async def found(services: Services, style_id: str, owner: str) -> Style:
    """Return the caller's style. Raises NotFound."""
    style = await services.call(services.styles.get, style_id, owner)
    if style is None:
        raise NotFound("there is no such style")
    return style


def _asked(services: Services, style: Style, form: Form, name: str) -> list[PrecomputeRequest]:
    """Return the preparations that a form asks for in its list `name`. Raises Invalid."""
    methods = [method.strip() for method in form.texts.get(name, "").split(",") if method.strip()]
    return precompute.asked(services, style, methods, form.texts.get("model"), f"#/{name}")


def _wanted(services: Services, style: Style, form: Form) -> list[PrecomputeRequest]:
    """Return the preparations that a form asks for beside saving the style. Raises Invalid."""
    return _asked(services, style, form, "precompute") if form.texts.get("precompute") else []


async def _admit(services: Services, caller: Caller, wanted: list[PrecomputeRequest]) -> Admission:
    """Find out whether a caller may have a style, and count the jobs that prepare it.

    Raises a Problem or a ContractError.
    """
    if await services.call(services.styles.count, caller.owner) >= MOST_STYLES:
        raise _too_many()
    admission = await admit(services, caller.owner, jobs=len(wanted))
    await services.call(services.rates.count_jobs, caller, len(wanted), "#/precompute")
    return admission


def _with_pictures(style: Style, pictures: list[Sha256]) -> Style:
    pairs = zip(pictures, style.references, strict=True)
    return style.model_copy(update={"references": tuple(StyleReference(sha256=p, weight=r.weight) for p, r in pairs)})


def _kept(services: Services, style: Style, wanted: list[PrecomputeRequest], put: PutInputs) -> list[Job]:
    """Keep a style and write the jobs that prepare it, both or neither; return the jobs. Talks to the store.

    Raises Invalid, ContractError.
    """
    if not services.styles.save(style, MOST_STYLES, put):
        raise _too_many()
    try:
        return precompute.begin(services, style, wanted)
    except ContractError:
        services.styles.delete(style.id, style.owner)
        raise


def _too_many() -> Invalid:
    return Invalid.of([Fault("#/name", f"at most {MOST_STYLES} styles can be kept; delete one first")])


def described(form: Form) -> tuple[str, tuple[float, ...]]:
    """Return the name and the weights that a form gives. Raises Invalid naming all faults."""
    values, faults = {}, []
    for name in (name for name in FIELDS if name in form.texts):
        try:
            values[name] = FIELDS[name].read(form.texts[name])
        except ValueError as fault:
            faults.append(Fault(f"#/{name}", str(fault)))
    name = str(values.get("name", "")).strip()
    if "name" not in {fault.pointer[2:] for fault in faults} and not 0 < len(name) <= MOST_NAME:
        faults.append(Fault("#/name", f"must have 1 to {MOST_NAME} characters"))
    count = form.count("style_image")
    if not count:
        faults.append(Fault("#/style_image", f"1 to {MOST_REFERENCES} are required"))
    shares = values.get("style_weights", (1.0,) * count)
    if len(shares) != count:
        faults.append(Fault("#/style_weights", f"must have one number per style image: {count}"))
    if faults:
        raise Invalid.of(faults)
    return name, shares
