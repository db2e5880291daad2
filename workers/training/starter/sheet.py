"""Contact sheets: labelled grids of pictures."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

MARGIN, HEADER = 84, 14


def contact_sheet(
    pictures: NDArray[np.uint8], rows: Sequence[str], columns: Sequence[str], *, labelled: bool = True
) -> Image.Image:
    """(rows * columns, h, w, 3) uint8, row by row, with the names along the left and the top."""
    count, height, width, _ = pictures.shape
    if count != len(rows) * len(columns):
        raise ValueError(f"{count} pictures do not fill {len(rows)} x {len(columns)}")
    left, top = (MARGIN, HEADER) if labelled else (0, 0)
    sheet = Image.new("RGB", (left + width * len(columns), top + height * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, len(columns))
        sheet.paste(Image.fromarray(picture), (left + column * width, top + row * height))
    if labelled:
        for index, name in enumerate(rows):
            draw.text((4, top + index * height + height // 2 - 6), name, fill="black")
        for index, name in enumerate(columns):
            draw.text((left + index * width + 4, 1), name, fill="black")
    return sheet
