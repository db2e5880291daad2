"""The body of a request with pictures, received within the limits of the host."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import Request

from app.dependencies import Services, sharing
from app.errors import BodyTimeout, Malformed, Problem, TooLarge, UnsupportedMedia
from app.uploads.multipart import Form, FormReader, FormSchema, boundary_of, read, too_large

REFUSALS: tuple[type[Problem], ...] = (Malformed, BodyTimeout, TooLarge, UnsupportedMedia)
"""What receiving a form may end in, for the documentation."""


@asynccontextmanager
async def receive_form(request: Request, services: Services, shape: FormSchema) -> AsyncIterator[Form]:
    """Give the form in a request's body; its files are freed afterwards. Raises a Problem or Disconnected."""
    settings = services.settings
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMedia("the body must not be compressed")
    if int(request.headers.get("content-length", "0")) > settings.gateway_body_bytes:
        raise too_large(settings.gateway_body_bytes)
    boundary = boundary_of(request.headers.get("content-type"))
    with services.memory.entered(sharing(request)) as memory:
        reader = FormReader(shape, memory, boundary)
        try:
            await read(
                request.receive, reader, limit=settings.gateway_body_bytes, seconds=settings.gateway_form_seconds
            )
            yield reader.form
        finally:
            reader.form.close()


def multipart(schema: dict[str, Any], encoding: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI `requestBody` of a form."""
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "encoding": encoding}}}
