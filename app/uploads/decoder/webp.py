"""WebP: its chunks. Metadata is taken out, so that what is damaged in it, or behind the pixels, refuses no picture."""

import struct

from app.uploads.decoder.picture_file import PictureFile

HEADER = struct.Struct("<4sI")
START = 12
METADATA = {b"EXIF": 0x08, b"XMP ": 0x04, b"ICCP": 0x20}
"""Chunks of metadata, and the flags of the header that announce them."""
PIXELS = (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")


def parse_webp(data: bytes) -> PictureFile:
    """Return the parts of a WebP. What cannot be walked is left to Pillow's judgement."""
    kept: list[bytes] = []
    found: dict[bytes, bytes] = {}
    _, size = HEADER.unpack_from(data)
    at, last = START, min(len(data), HEADER.size + size)
    while at + HEADER.size <= last:
        kind, length = HEADER.unpack_from(data, at)
        body, end = at + HEADER.size, at + HEADER.size + length
        if end > last:
            if kind in PIXELS:
                return PictureFile(data)
            break
        if kind in METADATA:
            found.setdefault(kind, data[body:end])
        elif kind == b"VP8X" and length:
            flags = data[body] & ~sum(METADATA.values())
            kept.append(data[at:body] + bytes([flags]) + data[body + 1 : end])
        elif kind in PIXELS:
            kept.append(data[at:end] + b"\0" * (length % 2))
        at = end + length % 2
    pixels = b"".join(kept)
    return PictureFile(
        b"RIFF" + struct.pack("<I", 4 + len(pixels)) + b"WEBP" + pixels,
        exif=found.get(b"EXIF", b""),
        profile=found.get(b"ICCP"),
        xmp=found.get(b"XMP ", b""),
    )
