"""What a caller may have kept from before, or wants a part of."""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Header
from starlette.responses import Response

from app.api.problems import problem_docs
from app.errors import Invalid, NotFound, RangeNotSatisfiable
from app.storage.send import BlobSender
from workers.contract.jobs.models import PublishedPicture

SANDBOX_HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}
IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}
ETAG = {"ETag": {"description": "names these very bytes", "schema": {"type": "string"}}}
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "The caller has it already", "headers": ETAG}}

IfNoneMatch = Annotated[
    str | None, Header(max_length=1000, description="the ETag of what the caller has: 304 when it is still the same")
]


@dataclass(frozen=True)
class KeptCopy:
    """What the caller has of a file: all of it, or a part that it wants to complete."""

    if_none_match: IfNoneMatch = None
    range: Annotated[
        str | None, Header(max_length=100, description="one part, such as `bytes=0-1023`; several at once get all")
    ] = None
    if_range: Annotated[
        str | None, Header(max_length=100, description="the ETag of which `Range` is a part; all when it is another")
    ] = None

    def wanted(self, tag: str) -> str | None:
        """Return which part is wanted of what has this tag; None for all."""
        return self.range if self.if_range in (None, f'"{tag}"') else None


KeptCopyDep = Annotated[KeptCopy, Depends(KeptCopy)]


def picture_docs(description: str, kinds: Iterable[str], *, parts: bool = True) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route that serves a picture of these media types, or a part of it."""
    content: dict[str, Any] = {kind: {} for kind in kinds}
    whole = problem_docs(NotFound, Invalid, *([RangeNotSatisfiable] if parts else [])) | NOT_MODIFIED
    whole[200] = {"description": description, "content": content, "headers": ETAG}
    return whole | ({206: {"description": "The part that `Range` asks for", "content": content}} if parts else {})


def has(if_none_match: str | None, tag: str) -> bool:
    """Return whether an `If-None-Match` header names a tag."""
    return bool(if_none_match) and (if_none_match == "*" or f'"{tag}"' in (if_none_match or ""))


async def conditional_response(
    tag: str,
    if_none_match: str | None,
    send: Callable[[Mapping[str, str]], Awaitable[Response]],
    headers: Mapping[str, str],
) -> Response:
    """Return what `send` answers, or 304 when the request's `If-None-Match` names its tag."""
    shown = {"ETag": f'"{tag}"', **SANDBOX_HEADERS, **headers}
    return Response(status_code=304, headers=shown) if has(if_none_match, tag) else await send(shown)


async def published_picture_response(
    sender: BlobSender, kept: KeptCopy, picture: PublishedPicture, owner: str, file_name: str
) -> Response:
    """Return a picture that a job published, or the part of it that the caller wants, or 304; its tag is its sha256.

    Raises BlobMissing, RangeNotSatisfiable, TooManyStreams, Unavailable.
    """
    headers = IMMUTABLE | {"Content-Disposition": f'attachment; filename="{file_name}"'}
    send = partial(sender.answer, picture.blob, owner, picture.content_type, wanted=kept.wanted(picture.sha256))
    return await conditional_response(picture.sha256, kept.if_none_match, send, headers)


def document_response(text: str, if_none_match: str | None) -> Response:
    """Return a JSON document, or 304 when the caller has it already; its tag holds whether it is compressed or not."""
    body = text.encode()
    tag = hashlib.blake2b(body, digest_size=12).hexdigest()
    headers = {"ETag": f'W/"{tag}"', "Cache-Control": "no-cache"}
    if has(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
