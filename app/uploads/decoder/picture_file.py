"""What a picture file holds, by chunk or segment: the pixels for Pillow, and the metadata that is used.

Metadata is read here and not by Pillow, which refuses a whole picture for a text, profile or preview that is damaged.
"""

import zlib
from dataclasses import dataclass

KEY = "stylize:recipe"
MAX_RECIPE_BYTES = 65_536
MAX_PROFILE_BYTES = 8_000_000


@dataclass(frozen=True)
class ColourKey:
    """The one colour of a PNG that is transparent: a sample of `depth` bits for each channel."""

    samples: tuple[int, ...]
    depth: int


@dataclass(frozen=True)
class PictureFile:
    """The parts of one file; `pixels` is the file without its metadata.

    The scans of a JPEG without end marker are the first `scans_end` bytes of `pixels`.
    """

    pixels: bytes
    exif: bytes = b""
    profile: bytes | None = None
    recipe: str = ""
    xmp: bytes = b""
    animated: bool = False
    colour_key: ColourKey | None = None
    scans_end: int | None = None


def inflate(packed: bytes | memoryview, most: int) -> bytes | None:
    """Return what a zlib stream unpacks to, None when it is damaged or holds more than `most` bytes."""
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(packed, most + 1)
    except zlib.error:
        return None
    return plain if inflater.eof and len(plain) <= most else None
