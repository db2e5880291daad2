"""The recipe that a picture of ours carries: PNG text, or XMP in JPEG and WebP. Runs only in the decoder's children."""

import html
import re
from typing import BinaryIO

from PIL import Image

from app.uploads.limits import FORMATS

KEY = "stylize:recipe"
ATTRIBUTE = re.compile(KEY + r"""=(["'])(.*?)\1""", re.DOTALL)
MAX_RECIPE_BYTES = 65_536


def recipe_text(source: BinaryIO) -> bytes:
    """Return the recipe in a picture that can be opened, as UTF-8; nothing when it carries none, or one too long."""
    with Image.open(source, formats=FORMATS) as opened:
        text, xmp = opened.info.get(KEY), opened.info.get("xmp")
    if isinstance(xmp, bytes) and not text:
        found = ATTRIBUTE.search(xmp.decode("utf-8", "replace"))  # XML is not parsed: none of its traps is there
        text = html.unescape(found[2]) if found else None
    encoded = text.encode("utf-8", "replace") if isinstance(text, str) else b""
    return encoded if len(encoded) <= MAX_RECIPE_BYTES else b""
