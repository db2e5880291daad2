"""`python -m app.services.comparisons.drawing` draws one contact sheet; the gateway itself holds no picture library.

In: a line of JSON, [[label, bytes of the picture], ...], then the pictures' files. Out: the sheet as PNG.
"""

import json
import sys
from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

TILE = 256
LABEL = 24
COLUMNS = 4


def contact_sheet(pictures: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Return one RGB picture: tiles of 256 px, each with its label below, four a row."""
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * TILE, rows * (TILE + LABEL)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for n, (label, picture) in enumerate(pictures):
        left, top = n % columns * TILE, n // columns * (TILE + LABEL)
        sheet.paste(picture.resize((TILE, TILE), Image.Resampling.LANCZOS), (left, top))
        draw.text((left + TILE / 2, top + TILE + LABEL / 2), label, "black", font, anchor="mm")
    return sheet


def main() -> None:
    """Draw one sheet."""
    source = sys.stdin.buffer
    tiles = []
    for label, size in json.loads(source.readline()):
        picture = (
            Image.open(BytesIO(source.read(size))).convert("RGB") if size else Image.new("RGB", (TILE, TILE), "grey")
        )
        tiles.append((label, picture))
    contact_sheet(tiles).save(sys.stdout.buffer, "PNG")


if __name__ == "__main__":
    main()
