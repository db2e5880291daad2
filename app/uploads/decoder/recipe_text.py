"""The recipe that a picture of ours carries: PNG text, or XMP. Runs only in the decoder's children."""

from typing import BinaryIO

from app.uploads.decoder.containers import parse_file
from app.uploads.decoder.picture_file import MAX_RECIPE_BYTES
from app.uploads.decoder.xmp import parse_xmp


def recipe_text(source: BinaryIO) -> bytes:
    """Return the recipe in a picture, as UTF-8; nothing when it carries none, or one too long."""
    file = parse_file(source.read())
    encoded = (file.recipe or parse_xmp(file.xmp)).encode("utf-8", "replace")
    return encoded if len(encoded) <= MAX_RECIPE_BYTES else b""
