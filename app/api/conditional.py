"""Bytes that a caller may have kept from before."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from starlette.responses import Response

from app.api.problems import problem_docs
from app.errors import Invalid, NotFound

SANDBOX_HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}
IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}


def picture_docs(description: str, kinds: Iterable[str]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route that serves a picture of these media types."""
    return problem_docs(NotFound, Invalid) | {
        200: {"description": description, "content": {kind: {} for kind in kinds}},
        304: {"description": "The caller has it already"},
    }


async def conditional_response(
    tag: str,
    if_none_match: str | None,
    send: Callable[[Mapping[str, str]], Awaitable[Response]],
    headers: Mapping[str, str],
) -> Response:
    """Return what `send` answers, or 304 when the request's `If-None-Match` names its tag."""
    shown = {"ETag": f'"{tag}"', **SANDBOX_HEADERS, **headers}
    return Response(status_code=304, headers=shown) if if_none_match and tag in if_none_match else await send(shown)
