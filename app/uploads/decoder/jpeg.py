"""JPEG: its segments. Of the application's only those stay in front of Pillow that say how colours are coded."""

import re

from app.uploads.decoder.picture_file import PictureFile

MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
START_OF_SCAN, COMMENT = 0xDA, 0xFE
APPLICATION = range(0xE0, 0xF0)
SEGMENTS = frozenset({*range(0xC0, 0xD0), *range(0xDA, 0xF0), COMMENT})
"""Markers with a length and a body behind them."""
END = b"\xff\xd9"
FILLED_UP = bytes(16)
"""How a file ends that a disk or a broken transfer has filled up: a scan has so many zeros only in flat pictures."""
CODING = {0xE0: (b"JFIF\0", 14), 0xEE: (b"Adobe", 12)}
"""Segments that tell the coding of colours: how they begin, and the least they hold."""
EXIF, XMP, ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"


def parse_jpeg(data: bytes) -> PictureFile:
    """Return the parts of a JPEG. What cannot be walked is left to Pillow's judgement."""
    kept, metadata, at = [data[:2]], JpegMetadata(), 2
    scans: int | None = None
    while scans is None and (found := MARKER.search(data, at)):
        marker, begin, body = found[1][0], found.end() - 2, found.end() + 2
        at = found.end() + int.from_bytes(data[found.end() : body], "big")
        if marker not in SEGMENTS or not body <= at <= len(data):
            return metadata.file(b"".join([*kept, data[begin:]]), None)
        if marker == START_OF_SCAN:
            scans = begin
        elif not metadata.take(marker, data[body:at]):
            kept.append(data[begin:at])
    if scans is None or END in data[scans:]:
        return metadata.file(b"".join([*kept, data[scans:] if scans is not None else b""]), None)
    pixels = b"".join([*kept, data[scans:]])
    if pixels.endswith(FILLED_UP):
        pixels = pixels.rstrip(b"\0") + b"\0"
    elif pixels.endswith(b"\xff"):  # half an end marker, or a byte of the scan that lost the zero behind it
        pixels += b"\0"
    return metadata.file(pixels + END, len(pixels))


class JpegMetadata:
    """The first EXIF and XMP, and the profile, of the segments before the first scan."""

    def __init__(self) -> None:
        self.exif = self.xmp = b""
        self.profile: dict[int, bytes] = {}
        self.profile_parts: set[int] = set()

    def take(self, marker: int, body: bytes) -> bool:
        """Take what is used of a segment; return whether Pillow need not see it."""
        if marker == 0xE1 and body.startswith(EXIF):
            self.exif = self.exif or body
        elif marker == 0xE1 and body.startswith(XMP):
            self.xmp = self.xmp or body[len(XMP) :]
        elif marker == 0xE2 and body.startswith(ICC) and len(body) > len(ICC) + 2:
            number, count = body[len(ICC) : len(ICC) + 2]
            self.profile.setdefault(number, body[len(ICC) + 2 :])
            self.profile_parts.add(count)
        begins, least = CODING.get(marker, (b"", 1 << 16))
        coding = body.startswith(begins) and len(body) >= least
        return (marker in APPLICATION or marker == COMMENT) and not coding

    def file(self, pixels: bytes, scans_end: int | None) -> PictureFile:
        """Return the file of these pixels with what was taken."""
        whole = self.profile_parts == {len(self.profile)}
        profile = b"".join(part for _, part in sorted(self.profile.items())) if whole else None
        return PictureFile(pixels, exif=self.exif, profile=profile, xmp=self.xmp, scans_end=scans_end)
