"""Bytes that a caller may have kept from before."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.responses import Response

SANDBOX_HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}
IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}


async def conditional_response(
    tag: str,
    if_none_match: str | None,
    send: Callable[[Mapping[str, str]], Awaitable[Response]],
    headers: Mapping[str, str],
) -> Response:
    """Return what `send` answers, or 304 when the request's `If-None-Match` names its tag."""
    shown = {"ETag": f'"{tag}"', **SANDBOX_HEADERS, **headers}
    return Response(status_code=304, headers=shown) if if_none_match and tag in if_none_match else await send(shown)
