"""The body of a request, received within the limits of the host."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import Request

from app.auth.keyring import ANYONE
from app.errors import BodyTimeout, Fault, Invalid, Malformed, Problem, TooLarge, UnsupportedMedia
from app.uploads.buffers import UploadMemory
from app.uploads.form_schema import FormSchema
from app.uploads.multipart import HANG_UP, Form, FormReader, boundary_of, escaped, read, too_large

REFUSALS: tuple[type[Problem], ...] = (Malformed, BodyTimeout, TooLarge, UnsupportedMedia)
"""What receiving a form may end in, for the documentation."""
JSON = "application/json"
MAX_JSON = 65_536


class BodyReceiver:
    """Receives forms of at most `most` bytes, and small JSON objects, within `seconds`."""

    def __init__(self, memory: UploadMemory, *, most: int, seconds: float) -> None:
        self._memory = memory
        self._most = most
        self._seconds = seconds

    @asynccontextmanager
    async def receive_form(self, request: Request, schema: FormSchema) -> AsyncIterator[Form]:
        """Give the form in a request's body; its files are freed afterwards. Raises a Problem or Disconnected."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise UnsupportedMedia("the body must not be compressed")
        if int(request.headers.get("content-length", "0")) > self._most:
            raise too_large(self._most)
        boundary = boundary_of(request.headers.get("content-type"))
        with self._memory.entered(_sharer(request)) as memory:
            reader = FormReader(schema, memory, boundary)
            try:
                await read(request.receive, reader, limit=self._most, seconds=self._seconds)
                yield reader.form
            finally:
                reader.form.close()

    async def receive_json(self, request: Request) -> dict[str, Any]:
        """Return the small JSON object in a body. Raises a Problem."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != JSON:  # a page of another site could send anything else without asking
            raise UnsupportedMedia(f"the body must be {JSON}, with that Content-Type")
        try:
            with self._memory.entered(_sharer(request)):
                async with asyncio.timeout(self._seconds):
                    body = await _receive_small(request)
        except TimeoutError:
            raise BodyTimeout(f"the body did not arrive within {self._seconds:g} seconds", headers=HANG_UP) from None
        try:
            found = json.loads(body)
        except (ValueError, RecursionError) as fault:
            raise Malformed("the body is not JSON") from fault
        if not isinstance(found, dict):
            raise Malformed("the body is not a JSON object")
        check_encodable(found)
        return found


def check_encodable(found: Mapping[str, Any]) -> None:
    """Raise Invalid naming the fields that hold half a surrogate pair: JSON can spell it, no text can hold it."""
    faults = []
    for name, value in found.items():
        try:
            json.dumps([name, value], ensure_ascii=False).encode()
        except UnicodeEncodeError:
            faults.append(Fault(f"#/{escaped(name)}", "is no Unicode text: it holds half a surrogate pair"))
    if faults:
        raise Invalid.of(faults)


async def _receive_small(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_JSON:
            raise TooLarge(f"the body is larger than {MAX_JSON:,} bytes", headers=HANG_UP)
    return bytes(body)


def _sharer(request: Request) -> str | None:
    """Return who shares the gateway's memory with others; None while no key tells callers apart."""
    owner: str = request.state.caller.owner
    return None if owner == ANYONE else owner


def multipart(schema: dict[str, Any], encoding: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI `requestBody` of a form."""
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "encoding": encoding}}}
