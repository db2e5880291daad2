"""Styles: save references once, use them by id."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.document.forms import ENCODING
from app.api.jobs import Cursor
from app.api.problems import BUSY, problem_docs
from app.dependencies import BodiesDep, CallerDep, OwnerDep, StyleSaverDep, StylesDep
from app.errors import InsufficientStorage, Invalid, NotFound
from app.schemas.style import StylesView, StyleView
from app.uploads.receive import REFUSALS, multipart
from app.uploads.style_form import PRECOMPUTE_BODY, PRECOMPUTE_FORM, STYLE_BODY, STYLE_FORM

router = APIRouter(tags=["styles"])

StyleId = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="the style's id")]


@router.post(
    "/styles",
    summary="Save a style",
    status_code=201,
    response_model=StyleView,
    openapi_extra={"requestBody": multipart(STYLE_BODY, {"style_image": ENCODING})},
    responses=problem_docs(*REFUSALS, Invalid, *BUSY, InsufficientStorage),
)
async def save_style(
    request: Request, bodies: BodiesDep, saver: StyleSaverDep, styles: StylesDep, caller: CallerDep
) -> Response:
    """Keeps 1 to 10 references with weights until the style is deleted; `style_id` then stands for them.

    A method that takes fewer references than the style has uses the heaviest. A style keeps its look: when a method has
    changed how it draws since the style was saved, it refuses the style instead of drawing it differently.

    `precompute` names methods for which workers prepare it at once; see `POST /styles/{style_id}/precompute`. Each
    method counts as a request of the key, and the host's limit of cost holds for all of them together.
    """
    async with bodies.receive_form(request, STYLE_FORM) as form:
        style = await saver.save(form, caller)
    view = await styles.get_view(style)
    return JSONResponse(view.model_dump(mode="json"), 201, {"Location": view.links.self})


@router.post(
    "/styles/{style_id}/precompute",
    summary="Prepare a style",
    status_code=202,
    openapi_extra={"requestBody": multipart(PRECOMPUTE_BODY, {})},
    responses=problem_docs(*REFUSALS, NotFound, Invalid, *BUSY),
)
async def precompute_style(
    style_id: StyleId,
    request: Request,
    bodies: BodiesDep,
    saver: StyleSaverDep,
    styles: StylesDep,
    caller: CallerDep,
) -> StyleView:
    """A worker computes what these methods need of the style, with their defaults, so that no job has to wait for it.

    Nothing happens where it is ready, or being prepared; `prepared` of the style tells how far it is. It is kept as
    long as the worker's cache has the room. A method that paints a content image again is prepared for content in the
    proportions of its default size.
    """
    style = await styles.get(style_id, caller.owner)
    async with bodies.receive_form(request, PRECOMPUTE_FORM) as form:
        await saver.precompute(style, form, caller)
    return await styles.get_view(style)


@router.get("/styles", summary="All styles", responses=problem_docs(Invalid))
async def read_styles(
    styles: StylesDep,
    owner: OwnerDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Cursor = None,
) -> StylesView:
    """The caller's styles, newest first, a page at a time."""
    return await styles.get_page(owner, limit=limit, cursor=cursor)


@router.get("/styles/{style_id}", summary="One style", responses=problem_docs(NotFound, Invalid))
async def read_style(style_id: StyleId, styles: StylesDep, owner: OwnerDep) -> StyleView:
    """A style's references, the versions of the techniques that it was saved for, and for which it is prepared."""
    return await styles.get_view(await styles.get(style_id, owner))


@router.delete(
    "/styles/{style_id}", summary="Delete a style", status_code=204, responses=problem_docs(NotFound, Invalid)
)
async def delete_style(style_id: StyleId, styles: StylesDep, owner: OwnerDep) -> Response:
    """Jobs that use it go on; its pictures go once no job needs them.

    Workers drop what they computed from its pictures, in memory and on disk, within seconds.
    """
    await styles.delete(style_id, owner)
    return Response(status_code=204)
