"""Which reader takes a picture file apart."""

from collections.abc import Callable

from app.uploads.decoder.jpeg import parse_jpeg
from app.uploads.decoder.picture_file import PictureFile
from app.uploads.decoder.png import parse_png
from app.uploads.decoder.webp import parse_webp
from app.uploads.limits import SIGNATURE_BYTES, format_of

PARSERS: dict[str, Callable[[bytes], PictureFile]] = {"PNG": parse_png, "JPEG": parse_jpeg, "WEBP": parse_webp}


def parse_file(data: bytes) -> PictureFile:
    """Return the parts of a file; one of another format is left to Pillow, which refuses it."""
    name = format_of(data[:SIGNATURE_BYTES])
    return PARSERS[name](data) if name else PictureFile(data)
