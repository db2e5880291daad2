"""How large a content image is when it is painted again, and so the result: as large as the request's size allows."""

from typing import Literal

from PIL import Image

from workers.engine.images import cover
from workers.engine.technique import GenerationInputs

Size = tuple[int, int]
Fit = Literal["content", "exact"]


def inside(size: Size, box: Size) -> Size:
    """Return a size (width, height) in its proportions, as large as the box allows; sides truncated, at least 1."""
    (w, h), (W, H) = size, box
    return (W, max(1, h * W // w)) if w * H >= h * W else (max(1, w * H // h), H)


def floored(size: Size, multiple: int) -> Size:
    """Return a size whose sides are rounded down to the multiple, and are at least that."""
    width, height = (max(multiple, side // multiple * multiple) for side in size)
    return width, height


def result_size(inputs: GenerationInputs, fit: Fit, multiple: int) -> Size:
    """Return the (width, height) of the result.

    `content`: the content image's proportions inside the request's size, sides rounded down to the multiple. `exact`,
    or without a content image, or with one that has the request's size already: the request's.
    """
    content, box = inputs.pictures.content, (inputs.width, inputs.height)
    if content is None or fit == "exact" or content.size == box:
        return box
    return floored(inside(content.size, box), multiple)


def fitted(
    inputs: GenerationInputs, fit: Fit, multiple: int, resample: Image.Resampling, *, twice: bool = False
) -> Image.Image:
    """Return the request's content image in RGB at the size of the result; it must have one.

    `exact` covers the size and crops. `twice` scales to the size before rounding first, then to the rounded one.
    """
    content, size = inputs.pictures.content, result_size(inputs, fit, multiple)
    assert content is not None
    image = content.convert("RGB")
    if image.size == size:
        return image
    if fit == "exact":
        return cover(image, *size)
    if twice:
        image = image.resize(inside(image.size, (inputs.width, inputs.height)), resample)
    return image.resize(size, resample)
