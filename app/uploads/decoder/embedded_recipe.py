"""The recipe that one of our pictures carries: PNG text, or XMP in JPEG and WebP.

Read by walking over the file's parts, without a picture library: nothing is decoded, nothing is inflated.
"""

import re
import struct
from collections.abc import Callable, Iterator
from xml.sax.saxutils import unescape

from app.uploads.limits import format_of

Read = Callable[[int, int], bytes]
"""`read(offset, size)` of a file; fewer bytes at its end."""

KEYWORD = b"stylize:recipe\x00"
PLAIN_ITXT = KEYWORD + b"\x00\x00"
XMP_MARK = b"http://ns.adobe.com/xap/1.0/\x00"
ATTRIBUTE = re.compile(r"""stylize:recipe=(["'])(.*?)\1""", re.DOTALL)
MAX_PARTS = 4096
MAX_TEXT = 65_536


def embedded_recipe(read: Read) -> str | None:
    """Return the recipe in a picture file, None when it carries none."""
    match format_of(read(0, 12)):
        case "PNG":
            return next(filter(None, map(_of_itxt, _png(read))), None)
        case "JPEG":
            return next(filter(None, map(_of_xmp, _jpeg(read))), None)
        case "WEBP":
            return next(filter(None, map(_of_xmp, _webp(read))), None)
        case _:
            return None


def _png(read: Read) -> Iterator[bytes]:
    offset = 8
    for _ in range(MAX_PARTS):
        head = read(offset, 8)
        if len(head) < 8:
            return
        size, kind = struct.unpack(">I4s", head)
        if kind == b"iTXt" and size <= MAX_TEXT:
            yield read(offset + 8, size)
        offset += size + 12


def _jpeg(read: Read) -> Iterator[bytes]:
    offset = 2
    for _ in range(MAX_PARTS):
        head = read(offset, 4)
        if len(head) < 4 or head[0] != 0xFF or head[1] == 0xDA:
            return
        (size,) = struct.unpack(">H", head[2:])
        segment = read(offset + 4, max(0, size - 2))
        if head[1] == 0xE1 and segment.startswith(XMP_MARK):
            yield segment.removeprefix(XMP_MARK)
        offset += 2 + size


def _webp(read: Read) -> Iterator[bytes]:
    offset = 12
    for _ in range(MAX_PARTS):
        head = read(offset, 8)
        if len(head) < 8:
            return
        kind, size = struct.unpack("<4sI", head)
        if kind == b"XMP " and size <= MAX_TEXT:
            yield read(offset + 8, size)
        offset += 8 + size + size % 2


def _of_itxt(chunk: bytes) -> str | None:
    """Return the text of our uncompressed iTXt chunk; language and translated keyword are skipped."""
    if not chunk.startswith(PLAIN_ITXT):
        return None
    parts = chunk.removeprefix(PLAIN_ITXT).split(b"\x00", 2)
    return parts[2].decode("utf-8", "replace") if len(parts) == 3 else None


def _of_xmp(packet: bytes) -> str | None:
    """Return the attribute; XML is not parsed, so that none of its traps is there."""
    found = ATTRIBUTE.search(packet.decode("utf-8", "replace"))
    return (
        unescape(found[2], {"&quot;": '"', "&apos;": "'", "&#10;": "\n", "&#13;": "\r", "&#9;": "\t"})
        if found
        else None
    )
