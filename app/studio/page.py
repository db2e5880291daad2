"""Serves the page and its files. They are read once: what is not there at the start cannot be asked for."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response

from app.errors import NotFound

router = APIRouter(include_in_schema=False)

STATIC = Path(__file__).parent / "static"
PAGE = "index.html"
TYPES = {".js": "text/javascript", ".webp": "image/webp", ".svg": "image/svg+xml"}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class File:
    """One file of the page, in memory; `zipped` is empty where that would not make it smaller."""

    content: bytes
    zipped: bytes
    media_type: str
    etag: str

    @classmethod
    def read(cls, path: Path) -> "File":
        """Return a file of the package."""
        content = path.read_bytes()
        kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        zipped = gzip.compress(content, mtime=0)
        tag = hashlib.sha256(content).hexdigest()[:32]
        return cls(content, zipped if len(zipped) < len(content) else b"", kind, tag)


@cache
def files() -> dict[str, File]:
    """Return all files of the page by their path below `static`."""
    return {path.relative_to(STATIC).as_posix(): File.read(path) for path in STATIC.rglob("*") if path.is_file()}


def served(name: str, known: str | None, encodings: str | None) -> Response:
    """Return the answer with a file; 304 when the caller has it already. Raises NotFound."""
    file = files().get(name)
    if file is None:
        raise NotFound("there is nothing at this address")
    zipped = bool(file.zipped) and "gzip" in (encodings or "")
    headers = {**HEADERS, "Vary": "Accept-Encoding", "ETag": f'"{file.etag}{"-gzip" if zipped else ""}"'}
    if known and file.etag in known:
        return Response(status_code=304, headers=headers)
    if zipped:
        headers["Content-Encoding"] = "gzip"
    return Response(file.zipped if zipped else file.content, media_type=file.media_type, headers=headers)


Sent = Annotated[str | None, Header()]


@router.get("/")
async def page(if_none_match: Sent = None, accept_encoding: Sent = None) -> Response:
    """The studio."""
    return served(PAGE, if_none_match, accept_encoding)


@router.get("/studio/{name:path}")
async def part(name: str, if_none_match: Sent = None, accept_encoding: Sent = None) -> Response:
    """A file that the page is made of."""
    return served(name, if_none_match, accept_encoding)
