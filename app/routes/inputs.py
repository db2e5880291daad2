"""`GET /inputs/{sha256}`: the pictures that a caller's jobs and styles were made with."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Path
from starlette.responses import Response

from app.deps import Owner, With
from app.errors import Invalid, NotFound
from app.kept import FOREVER, unless_kept
from app.problems import documented
from workers.contract.blobs import input_name

router = APIRouter(tags=["jobs"])

Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="as a recipe or a style names the picture")]


@router.get(
    "/inputs/{sha256}",
    summary="One reference picture",
    response_class=Response,
    responses=documented(NotFound, Invalid)
    | {
        200: {"description": "The picture, as the service keeps it", "content": {"image/png": {}}},
        304: {"description": "The caller has it already"},
    },
)
async def read_input(
    sha256: Digest, services: With, owner: Owner, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """A style, content or control image that one of the caller's jobs or styles names; it never changes."""
    if await services.call(services.store.unused, [sha256], owner):
        raise NotFound("none of your jobs or styles names such a picture")
    headers = FOREVER | {"Content-Disposition": f'attachment; filename="{sha256[:16]}.png"'}
    send = partial(services.pictures.answer, input_name(sha256), owner, "image/png")
    return await unless_kept(sha256, if_none_match, send, headers)
