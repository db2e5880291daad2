"""How large the two pictures are when they are inverted, and so the result."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from workers.engine.technique import GenerationInputs, params_as
from workers.techniques.injection.style_id.spec import StyleIdParams

SMALLEST = 64
Size = tuple[int, int]


@dataclass(frozen=True)
class Sizes:
    """(width, height) in pixels of the style picture and of the content picture; the latter is the result's."""

    style: Size
    content: Size


Sizing = Callable[[GenerationInputs, int], Sizes]
"""From a request with both pictures, and what sides must be a multiple of."""


def fitted(inputs: GenerationInputs, multiple: int) -> Sizes:
    """Return the result's size for both pictures, so that they can be inverted together.

    With params.fit `content` it is the content picture's own, see `bounded`; else the request's.
    """
    content = inputs.pictures.content
    assert content is not None
    size = inputs.width, inputs.height
    if params_as(inputs, StyleIdParams).fit == "content":
        size = bounded(content.size, inputs.width * inputs.height, multiple)
    return Sizes(size, size)


def own(inputs: GenerationInputs, multiple: int) -> Sizes:
    """Return the two pictures' own sizes, as the authors' diffusers code takes them."""
    [style], content = inputs.pictures.styles, inputs.pictures.content
    assert content is not None
    return Sizes(style.size, content.size)


def bounded(size: Size, area: int, multiple: int) -> Size:
    """Return a size in its proportions with at most `area` pixels, never enlarged, rounded down to the multiple.

    No side is below SMALLEST, whatever the proportions.
    """
    scale = min(1.0, math.sqrt(area / (size[0] * size[1])))
    short = max(SMALLEST, _down(min(size) * scale, multiple))
    long = max(SMALLEST, _down(min(max(size) * scale, area / short), multiple))
    return (long, short) if size[0] >= size[1] else (short, long)


def _down(side: float, multiple: int) -> int:
    return int(side) // multiple * multiple
