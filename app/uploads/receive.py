"""The body of a request, received within the limits of the host."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from app.auth.keyring import ANYONE
from app.errors import BodyTimeout, Fault, Invalid, Malformed, Problem, TooLarge, UnsupportedMedia
from app.uploads.buffers import UploadMemory
from app.uploads.form_schema import FormSchema
from app.uploads.multipart import HANG_UP, Form, FormReader, boundary_of, escaped, read, too_large
from app.uploads.text_body import BYTES, form_of_json, form_of_urlencoded

REFUSALS: tuple[type[Problem], ...] = (Malformed, BodyTimeout, TooLarge, UnsupportedMedia)
"""What receiving a form may end in, for the documentation."""
JSON = "application/json"
URLENCODED = "application/x-www-form-urlencoded"
MAX_TEXT_BODY = 65_536
"""Of a body that has no files."""


class BodyReceiver:
    """Receives forms of at most `most` bytes within `seconds`; those without files may be JSON or a web form."""

    def __init__(self, memory: UploadMemory, *, most: int, seconds: float) -> None:
        self._memory = memory
        self._most = most
        self._seconds = seconds

    @asynccontextmanager
    async def receive_form(self, request: Request, schema: FormSchema) -> AsyncIterator[Form]:
        """Give the form in a request's body; its files are freed afterwards. Raises a Problem or Disconnected."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise UnsupportedMedia("the body must not be compressed")
        declared = int(request.headers.get("content-length", "0"))
        if declared > self._most:
            raise too_large(self._most, declared)
        kind, charset = _kind_of(request)
        if kind in (JSON, URLENCODED):
            yield await self._receive_texts(request, schema, kind, charset)
            return
        boundary = boundary_of(request.headers.get("content-type"))
        with self._memory.entered(_sharer(request)) as memory:
            reader = FormReader(schema, memory, boundary)
            try:
                await read(request.receive, reader, limit=self._most, seconds=self._seconds)
                yield reader.form
            finally:
                reader.form.close()

    async def _receive_texts(self, request: Request, schema: FormSchema, kind: str, charset: str) -> Form:
        if kind == JSON:
            return form_of_json(await self.receive_json(request), schema)
        return form_of_urlencoded(await self._receive_small(request), charset, schema)

    async def receive_json(self, request: Request) -> dict[str, Any]:
        """Return the small JSON object in a body. Raises a Problem."""
        if _kind_of(request)[0] != JSON:  # a page of another site could send anything else without asking
            raise UnsupportedMedia(f"the body must be {JSON}, with that Content-Type")
        body = await self._receive_small(request)
        try:
            found = json.loads(body)
            if not isinstance(found, dict):
                raise Malformed("the body is not a JSON object")
            check_encodable(found)
        except (ValueError, RecursionError) as fault:
            raise Malformed("the body is not JSON, or nested too deeply") from fault
        return found

    async def _receive_small(self, request: Request) -> bytes:
        body = bytearray()
        drops = 0 < int(request.headers.get("content-length", "0")) <= self._most
        try:
            with self._memory.entered(_sharer(request)):
                async with asyncio.timeout(self._seconds):
                    async for piece in request.stream():
                        body += piece
                        if len(body) > MAX_TEXT_BODY:
                            detail = f"the body is larger than {MAX_TEXT_BODY:,} bytes"
                            raise TooLarge(detail, headers={} if drops else HANG_UP)
        except TimeoutError:
            raise BodyTimeout(f"the body did not arrive within {self._seconds:g} seconds", headers=HANG_UP) from None
        return bytes(body)


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


def _kind_of(request: Request) -> tuple[str, str]:
    """Return the media type of a body and the charset that it names, both in lower case."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    return kind.decode(BYTES), options.get(b"charset", b"").decode(BYTES)


def _sharer(request: Request) -> str | None:
    """Return who shares the gateway's memory with others; None while no key tells callers apart."""
    owner: str = request.state.caller.owner
    return None if owner == ANYONE else owner


def multipart(schema: dict[str, Any], encoding: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI `requestBody` of a form."""
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "encoding": encoding}}}
