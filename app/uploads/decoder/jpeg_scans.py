"""Whether a JPEG without end marker has all its pixels: browsers show it then, and nothing is lost."""

import re
import zlib
from io import BytesIO

from PIL import Image

from app.uploads.decoder.jpeg import END, MARKER, START_OF_SCAN
from app.uploads.decoder.picture_file import PictureFile

NEXT_IN_SCAN = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
BITS = bytes(n * 151 % 251 + 2 for n in range(1, 65))
RESTARTS = tuple(bytes((0xFF, marker)) for marker in range(0xD0, 0xD8))
PROBES = tuple(bits + b"".join(mark + bits for mark in RESTARTS) for bits in (BITS, bytes(255 - n for n in BITS)))
"""Bytes that mean some pixels or other when they are read as part of a scan, at a restart too. What has a bit in one
has it not in the other."""
SHORTENED, LONG_SCAN = 64, 1024


def is_complete(file: PictureFile) -> bool:
    """Return whether a JPEG lacks nothing but its end marker, by what other bytes at its end make of its pixels.

    In place of bytes that are missing libjpeg takes zeros. So whatever follows a complete scan changes no pixel, while
    it fills the gap of one that is cut. Where a long scan does not need its last bytes, they are no part of it.
    """
    if file.scans_end is None:
        return True
    scans = file.pixels[: file.scans_end]
    begin = find_last_scan(scans)
    if begin is None:
        return False
    shown = _checksum(scans)
    if shown is None or any(_checksum(scans + probe) != shown for probe in PROBES):
        return False
    return len(scans) - begin < LONG_SCAN or _checksum(scans[:-SHORTENED] + PROBES[0]) != shown


def _checksum(scans: bytes) -> int | None:
    with Image.open(BytesIO(scans + END), formats=("JPEG",)) as opened:
        try:
            return zlib.crc32(opened.tobytes())
        except OSError:
            return None


def find_last_scan(scans: bytes) -> int | None:
    """Return where the data of the last scan begin, None when a scan is missing.

    None is missing when each component has each of its 64 coefficients in full precision.
    """
    components = b""
    sent: set[tuple[int, int]] = set()
    at, pattern, begin = 2, MARKER, 0
    while found := pattern.search(scans, at):
        marker, body = found[1][0], found.end() + 2
        at = found.end() + int.from_bytes(scans[found.end() : body], "big")
        if marker in FRAMES:
            components = scans[body + 6 : at : 3]
        elif marker == START_OF_SCAN:
            pattern, begin = NEXT_IN_SCAN, at
            segment = scans[body:at]
            if len(segment) < 4:
                return None
            first, last, precision = segment[-3:]
            if not precision & 15:
                sent |= {(name, n) for name in segment[1:-3:2] for n in range(first, last + 1)}
    needed = {(name, n) for name in components for n in range(64)}
    return begin if needed and sent >= needed else None
