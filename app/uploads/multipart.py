"""A multipart form, read as it arrives: every limit holds before the bytes that would break it are kept."""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import BodyTimeout, Fault, Invalid, Malformed, Problem, TooLarge, UnsupportedMedia
from app.uploads.buffers import Share
from app.uploads.form_schema import FormSchema
from app.uploads.upload import Upload

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

HANG_UP = {"Connection": "close"}
MAX_PARTS = 32
MAX_TEXT_BYTES = 32_768
MAX_PART_HEADERS = 8
MAX_PART_HEADER_BYTES = 2048
PLAIN_DISPOSITION = re.compile(rb'form-data; name="([^"\\\\]*)"(?:; filename="([^"\\\\]*)")?')
"""What nearly all clients send; anything else takes the library's slower way."""


class Disconnected(Exception):
    """The caller went away before the body was complete."""


@dataclass
class Form:
    """What a form held. Close it to free the files.

    `stored` names pictures that the service has already, by field: sha256 in place of files.
    `values` are the texts as validation read them.
    """

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, list[Upload]] = field(default_factory=dict)
    stored: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def count(self, name: str) -> int:
        """Return how many pictures a field has, sent or stored."""
        return len(self.files.get(name, ())) + len(self.stored.get(name, ()))

    def uploads(self) -> list[Upload]:
        """Return all files."""
        return [upload for uploads in self.files.values() for upload in uploads]

    def close(self) -> None:
        """Free the files' memory."""
        for upload in self.uploads():
            upload.close()
        self.files.clear()


class FormReader:
    """Feeds a body to the parser and keeps what the schema allows. `form` belongs to the caller, who closes it."""

    def __init__(self, schema: FormSchema, memory: Share, boundary: bytes) -> None:
        self.form = Form()
        self._schema = schema
        self._memory = memory
        self._parts = 0
        self._ended = False
        self._header_name = b""
        self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._text: bytearray | None = None
        self._upload: Upload | None = None
        callbacks: Any = {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value_data,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }
        self._parser = MultipartParser(
            boundary, callbacks, max_header_count=MAX_PART_HEADERS, max_header_size=MAX_PART_HEADER_BYTES
        )

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body. Raises a Problem as soon as a limit is passed."""
        try:
            self._parser.write(data)
        except FormParserError as fault:
            raise Malformed("the body is not well-formed multipart/form-data") from fault

    def finish(self) -> None:
        """Raise Malformed when the body ended too early."""
        if not self._ended:
            raise Malformed("the body ends before its closing boundary")

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise TooLarge(f"the form has more than {MAX_PARTS} parts")
        self._headers = {}
        self._header_name = self._header_value = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_value_data(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _headers_finished(self) -> None:
        name, filename = disposition(self._headers.get(b"content-disposition", b""))
        self._name = name
        is_file = filename is not None
        if name in self._schema.files and (is_file or name not in self._schema.texts):
            self._open_file(name, filename)
        elif name in self._schema.texts:
            self._open_text(name, is_file)
        else:
            known = ", ".join((*self._schema.files, *self._schema.texts))
            raise Invalid.of([Fault(f"#/{escaped(name)}", f"unknown field; known are {known}")])

    def _open_file(self, name: str, filename: str | None) -> None:
        if filename is None:
            raise Invalid.of([Fault(f"#/{name}", "must be sent as a file, with a filename")])
        uploads = self.form.files.setdefault(name, [])
        most = self._schema.files[name]
        if len(uploads) >= most:
            raise Invalid.of([Fault(f"#/{name}", f"at most {most} {'file' if most == 1 else 'files'}")])
        media_type = self._headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        self._upload = Upload(
            self._schema.pointer(name, len(uploads)),
            self._memory,
            filename=filename,
            media_type=media_type.decode("latin-1"),
        )
        uploads.append(self._upload)

    def _open_text(self, name: str, is_file: bool) -> None:
        if is_file:
            raise Invalid.of([Fault(f"#/{name}", "must be sent as text, without a filename")])
        if name in self.form.texts and name not in self._schema.lists:
            raise Invalid.of([Fault(f"#/{name}", "is there more than once")])
        self._text = bytearray()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._upload is not None:
            self._upload.write(memoryview(data)[start:end])
        elif self._text is not None:
            if len(self._text) + end - start > MAX_TEXT_BYTES:
                detail = f"the field is larger than {MAX_TEXT_BYTES:,} bytes"
                raise TooLarge(f"{self._name}: {detail}", errors=[Fault(f"#/{self._name}", detail)])
            self._text += data[start:end]

    def _part_end(self) -> None:
        if self._upload is not None and not self._upload.filename and not self._upload.size:
            self.form.files[self._name].remove(self._upload)  # an empty file input of a web form
            self._upload.close()
        elif self._text is not None:
            try:
                text = self._text.decode("utf-8")
            except UnicodeDecodeError as fault:
                raise Invalid.of([Fault(f"#/{self._name}", "must be UTF-8")]) from fault
            before = self.form.texts.get(self._name)
            self.form.texts[self._name] = text if before is None else f"{before},{text}"
        self._upload = self._text = None

    def _end(self) -> None:
        self._ended = True


def disposition(header: bytes) -> tuple[str, str | None]:
    """Return the name and the filename, None when there is none, of a part. Raises Malformed."""
    if plain := PLAIN_DISPOSITION.fullmatch(header):
        name, filename = plain.groups()
    else:
        kind, options = parse_options_header(header)
        name, filename = options.get(b"name"), options.get(b"filename")
        if kind != b"form-data" or name is None:
            raise Malformed("a part has no Content-Disposition: form-data with a name")
    return name.decode("utf-8", "replace"), None if filename is None else filename.decode("utf-8", "replace")


def escaped(name: str) -> str:
    """Return a field's name as a token of a JSON pointer, shortened, without control characters."""
    shown = "".join(letter for letter in name[:64] if letter.isprintable())
    return shown.replace("~", "~0").replace("/", "~1")


def boundary_of(content_type: str | None) -> bytes:
    """Return the boundary of a multipart/form-data body. Raises UnsupportedMedia."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 70:
        raise UnsupportedMedia("the body must be multipart/form-data with a boundary")
    return boundary


def too_large(limit: int) -> TooLarge:
    """Return the problem of a body of more than `limit` bytes; nobody reads the rest of it."""
    return TooLarge(f"the body is larger than {limit:,} bytes", headers=HANG_UP)


async def read(receive: Receive, reader: FormReader, *, limit: int, seconds: float) -> None:
    """Read a body of at most `limit` bytes within `seconds`. Raises a Problem or Disconnected.

    What follows a fault is read and dropped, so that the caller comes to hear of it.
    """
    refusal: Problem | None = None
    left = limit
    try:
        async with asyncio.timeout(seconds):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                data: bytes = message.get("body", b"")
                more = message.get("more_body", False)
                left -= len(data)
                if left < 0:
                    raise too_large(limit)
                refusal = refusal or _fed(reader, data)
    except TimeoutError as late:
        raise BodyTimeout(f"the body did not arrive within {seconds:g} seconds", headers=HANG_UP) from late
    if refusal is not None:
        raise refusal
    reader.finish()


def _fed(reader: FormReader, data: bytes) -> Problem | None:
    try:
        reader.feed(data)
    except Problem as refusal:
        reader.form.close()
        return refusal
    return None
