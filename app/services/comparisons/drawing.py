"""`python -m app.services.comparisons.drawing` draws one contact sheet; the gateway itself holds no picture library.

In: a line of JSON, {"prompt", "columns", "references", "tiles"}, the last two being numbers of pictures; then of each
reference and each tile a line of JSON, [label, bytes], and the picture's file. Out: the sheet as PNG. One picture is in
memory at a time.
"""

import json
import sys
from collections.abc import Sequence
from io import BytesIO
from typing import BinaryIO

from PIL import Image, ImageDraw, ImageFont, ImageOps

TILE, SMALL_TILE = 256, 128
MANY = 64
"""Tiles, beyond which they are small."""
LABEL = 24
MARGIN = 8
LINE = 22
MOST_LINES = 4
LEAST_WIDTH = 2 * TILE
REFERENCE = 128

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def read_picture(source: BinaryIO, side: int) -> tuple[str, Image.Image | None]:
    """Return the next label and picture, which fits into a square; None where there is no picture."""
    label, size = json.loads(source.readline())
    if not size:
        return label, None
    with Image.open(BytesIO(source.read(size))) as picture:
        return label, ImageOps.contain(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)


def wrap(text: str, font: Font, width: float) -> list[str]:
    """Return the lines of a text that fit into a width, at most MOST_LINES; what is cut off shows as dots."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"{lines[MOST_LINES - 1]} ..."]
    return [line for line in lines if line]


def contact_sheet(pictures: Sequence[tuple[str, Image.Image]], columns: int = 4) -> Image.Image:
    """Return one RGB picture: tiles of 256 px, each with its label below."""
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * TILE, rows * (TILE + LABEL)), "white")
    for n, (label, picture) in enumerate(pictures):
        tile = ImageOps.contain(picture, (TILE, TILE), Image.Resampling.LANCZOS)
        put(sheet, (n % columns * TILE, n // columns * (TILE + LABEL)), TILE, (label, tile), ImageFont.load_default(14))
    return sheet


def draw_sheet(source: BinaryIO) -> Image.Image:
    """Return one RGB picture: the prompt, the references, then the tiles with their labels below, row by row."""
    head = json.loads(source.readline())
    columns, tiles, references = head["columns"], head["tiles"], head["references"]
    side = TILE if tiles <= MANY else SMALL_TILE
    font, width = ImageFont.load_default(size=14 if side == TILE else 9), max(columns * side, LEAST_WIDTH)
    large = ImageFont.load_default(size=16)
    prompt = wrap(head["prompt"], large, width - 2 * MARGIN)
    above = len(prompt) * LINE + (REFERENCE + LABEL if references else 0) + (2 * MARGIN if prompt or references else 0)
    rows = -(-tiles // columns)
    sheet = Image.new("RGB", (width, above + rows * (side + LABEL)), "white")
    draw = ImageDraw.Draw(sheet)
    for n, line in enumerate(prompt):
        draw.text((MARGIN, MARGIN + n * LINE), line, "black", large)
    for n in range(references):
        place = (MARGIN + n * (REFERENCE + MARGIN), MARGIN + len(prompt) * LINE)
        put(sheet, place, REFERENCE, read_picture(source, REFERENCE), ImageFont.load_default(size=12))
    for n in range(tiles):
        place = (n % columns * side, above + n // columns * (side + LABEL))
        put(sheet, place, side, read_picture(source, side), font)
    return sheet


def put(
    sheet: Image.Image, place: tuple[int, int], side: int, shown: tuple[str, Image.Image | None], font: Font
) -> None:
    """Put a picture, or grey for none, into its square with its label below; nothing where there is no label."""
    label, picture = shown
    if not label:
        return
    left, top = place
    tile = picture or Image.new("RGB", (side, side), "grey")
    sheet.paste(tile, (left + (side - tile.width) // 2, top + (side - tile.height) // 2))
    ImageDraw.Draw(sheet).text((left + side / 2, top + side + LABEL / 2), label, "black", font, anchor="mm")


def main() -> None:
    """Draw one sheet."""
    draw_sheet(sys.stdin.buffer).save(sys.stdout.buffer, "PNG")


if __name__ == "__main__":
    main()
