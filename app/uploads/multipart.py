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
from app.uploads.limits import format_of
from app.uploads.part import Part, parse_part
from app.uploads.texts import FormTexts
from app.uploads.upload import Upload

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

HANG_UP = {"Connection": "close"}
DROPPED_SHARE = 2
"""A body of up to so many times what is allowed is read and dropped, within the time that a message has."""
MAX_PARTS = 32
MAX_TEXT_BYTES = 32_768
MAX_PART_HEADERS = 8
MAX_PART_HEADER_BYTES = 2048
MAX_PREAMBLE = 8192
MOST_NAME = 80
"""What is looked at of a text in place of a file: a sha256 with some space around."""
SHA256 = re.compile(rb"[0-9a-f]{64}")
NO_FILE = "must be sent as a file (with curl: @FILE)"


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

    def check_room(self, name: str, schema: FormSchema) -> None:
        """Raise Invalid when a field has as many pictures as it may have."""
        most = schema.files[name]
        if self.count(name) >= most:
            raise Invalid.of([Fault(f"#/{name}", f"at most {most} {'file' if most == 1 else 'files'}")])

    def name_stored(self, name: str, sha256: bytes, schema: FormSchema) -> None:
        """Put a stored picture into a field. Raises Invalid."""
        if name not in schema.stored or not SHA256.fullmatch(sha256):
            stored = ", or be the sha256 of a stored picture" if name in schema.stored else ""
            raise Invalid.of([Fault(f"#/{name}", NO_FILE + stored)])
        self.check_room(name, schema)
        self.stored.setdefault(name, []).append(sha256.decode())

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
        self._texts = FormTexts(schema)
        self._charset = ""
        self._upload: Upload | None = None
        self._preamble: bytes | None = b""
        self._first = re.compile(rb"(?:\A|\n)(--" + re.escape(boundary) + rb")(?:[ \t]*(\r\n)|(--))")
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
            self._parser.write(data if self._preamble is None else self._skip_preamble(self._preamble + data))
        except FormParserError as fault:
            raise Malformed("the body is not well-formed multipart/form-data") from fault

    def finish(self) -> None:
        """Put the texts into the form. Raises Malformed when the body ended too early, Invalid, UnsupportedMedia."""
        if self._preamble:
            raise Malformed("the body does not hold the boundary that its Content-Type names")
        if not self._ended:
            raise Malformed("the body ends before its closing boundary")
        self.form.texts = self._texts.decode()

    def _skip_preamble(self, data: bytes) -> bytes:
        """Return the body from its first boundary on, nothing as long as that has not come. Raises Malformed."""
        found = self._first.search(data)
        if (found.start() if found else len(data)) > MAX_PREAMBLE:
            raise Malformed(f"the first {MAX_PREAMBLE:,} bytes do not hold the boundary that the Content-Type names")
        self._preamble = None if found else data
        return b"".join((found[1], found[2] or found[3], data[found.end() :])) if found else b""

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
        part = parse_part(self._headers)
        name = self._schema.field_of(part.name)
        if name is None:
            raise Invalid.of([unknown_field(part.name, self._schema)])
        self._name = name
        if name in self._schema.files and (part.is_file or name not in self._schema.texts):
            self._open_file(name, part)
        else:
            self._texts.check_new(name)
            self._text, self._charset = bytearray(), part.charset

    def _open_file(self, name: str, part: Part) -> None:
        self.form.check_room(name, self._schema)
        uploads = self.form.files.setdefault(name, [])
        self._upload = Upload(
            self._schema.pointer(name, len(uploads)),
            self._memory,
            filename=part.filename or "",
            media_type=part.media_type,
        )
        uploads.append(self._upload)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._upload is not None:
            self._upload.write(memoryview(data)[start:end])
        elif self._text is not None:
            if len(self._text) + end - start > MAX_TEXT_BYTES:
                detail = f"the field is larger than {MAX_TEXT_BYTES:,} bytes"
                raise TooLarge(f"{self._name}: {detail}", errors=[Fault(f"#/{self._name}", detail)])
            self._text += data[start:end]

    def _part_end(self) -> None:
        if self._upload is not None:
            self._close_file(self._upload)
        elif self._text is not None:
            self._texts.add(self._name, bytes(self._text), self._charset)
        self._upload = self._text = None

    def _close_file(self, upload: Upload) -> None:
        """Keep a file that has come, unless it is an empty file input of a web form, or names a stored picture."""
        if upload.filename and not upload.size:
            raise Invalid.of([Fault(upload.pointer, "the file is empty")])
        if upload.filename or self._name in self._schema.texts or format_of(upload.head):
            return
        self.form.files[self._name].remove(upload)
        text = upload.file.mapped[: min(upload.size, MOST_NAME)]
        upload.close()
        if text:
            self.form.name_stored(self._name, text.strip(), self._schema)

    def _end(self) -> None:
        self._ended = True


def escaped(name: str) -> str:
    """Return a field's name as a token of a JSON pointer, shortened, without control characters."""
    shown = "".join(letter for letter in name[:64] if letter.isprintable())
    return shown.replace("~", "~0").replace("/", "~1")


def unknown_field(name: str, schema: FormSchema) -> Fault:
    """Return the fault of a field that a form may not have."""
    return Fault(f"#/{escaped(name)}", f"unknown field; known are {schema.known}")


def boundary_of(content_type: str | None) -> bytes:
    """Return the boundary of a multipart/form-data body. Raises UnsupportedMedia."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data":
        others = "application/x-www-form-urlencoded or application/json"
        raise UnsupportedMedia(f"the body must be multipart/form-data; without files also {others}")
    if not 0 < len(boundary) <= 70:
        raise UnsupportedMedia("multipart/form-data needs a boundary: leave the Content-Type to the HTTP library")
    return boundary


def too_large(limit: int, declared: int | None = None) -> TooLarge:
    """Return the problem of a body of more than `limit` bytes; nobody reads the rest of it.

    One that declares not much more is dropped as it comes instead: a proxy that still sends it gets to read the answer,
    and does not tell its own caller of a broken connection.
    """
    little = declared is not None and declared <= DROPPED_SHARE * limit
    return TooLarge(f"the body is larger than {limit:,} bytes", headers={} if little else HANG_UP)


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
