"""A labelled sheet of pictures."""

from collections.abc import Sequence

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
