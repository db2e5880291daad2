"""The picture that is filled in, and the mask of what is: white is repainted."""

from dataclasses import dataclass

from PIL import Image, ImageChops, ImageFilter

from workers.engine.errors import Refused
from workers.engine.images import resized
from workers.engine.technique import GenerationInputs

GREY, KEPT, REPAINTED = (127, 127, 127), 0, 255
FEATHER = 4
"""Pixels within the mask over which what is kept goes over into what is painted."""


@dataclass(frozen=True)
class FillCanvas:
    """A picture (RGB) and its mask (grey, repainted from REPAINTED / 2 on) of the same size.

    `feather` is how many pixels of the picture within the mask are worth keeping for a soft edge.
    """

    picture: Image.Image
    mask: Image.Image
    feather: int = FEATHER

    def keep(self, painted: Image.Image) -> Image.Image:
        """Return a painted picture with what is not repainted exactly as it was; the model keeps it only nearly."""
        hole = self.mask.point([KEPT] * 128 + [REPAINTED] * 128)
        if not self.feather:
            return Image.composite(painted, self.picture, hole)
        inside = hole.filter(ImageFilter.MinFilter(2 * (self.feather // 2) + 1))
        soft = inside.filter(ImageFilter.GaussianBlur(self.feather / 3))
        return Image.composite(painted, self.picture, ImageChops.darker(hole, soft))

    def from_left(self, left: int) -> "FillCanvas":
        """Return the part of it from a column on."""
        box = (left, 0, *self.picture.size)
        return FillCanvas(self.picture.crop(box), self.mask.crop(box), self.feather)

    def without_left(self, width: int) -> "FillCanvas":
        """Return a diptych whose left half of that width is grey and repainted: nothing of the style image is seen."""
        picture, mask = self.picture.copy(), self.mask.copy()
        picture.paste(GREY, (0, 0, width, picture.height))
        mask.paste(REPAINTED, (0, 0, width, mask.height))
        return FillCanvas(picture, mask)


def filled(inputs: GenerationInputs, left: int | None, top: int | None, overlap: int) -> FillCanvas:
    """Return the content picture and what is repainted: its mask, or all around it where `left` or `top` is given.

    Raises Refused for neither or both, or what does not fit.
    """
    if left is None and top is None:
        return of_mask(inputs)
    if inputs.pictures.mask is not None:
        raise Refused("a mask_image, or params.left and params.top to paint around the content_image: not both")
    return outpainting(inputs, left or 0, top or 0, overlap)


def of_mask(inputs: GenerationInputs) -> FillCanvas:
    """Return the content picture and its mask, both squashed to the request's size (Lanczos)."""
    content, mask = inputs.pictures.content, inputs.pictures.mask
    if content is None or mask is None:
        raise Refused("a content_image with a mask_image is needed, or left and top to paint around the content_image")
    size = inputs.width, inputs.height
    return FillCanvas(resized(content, *size), mask.convert("L").resize(size, Image.Resampling.LANCZOS))


def outpainting(inputs: GenerationInputs, left: int, top: int, overlap: int = 0) -> FillCanvas:
    """Return the content picture at its own size on a grey canvas of the request's, all around it repainted.

    `overlap` pixels of the content's own edge are repainted, too, but where it meets the canvas' edge. Raises Refused
    when it does not fit.
    """
    content = inputs.pictures.content
    if content is None:
        raise Refused("a content_image is needed to paint around")
    right, bottom = left + content.width, top + content.height
    if right > inputs.width or bottom > inputs.height:
        raise Refused(
            f"the content_image of {content.width}x{content.height} at left {left}, top {top} does not fit into "
            f"{inputs.width}x{inputs.height}"
        )
    picture = Image.new("RGB", (inputs.width, inputs.height), GREY)
    picture.paste(content.convert("RGB"), (left, top))
    mask = Image.new("L", picture.size, REPAINTED)
    kept = (
        left + overlap * (left > 0),
        top + overlap * (top > 0),
        right - overlap * (right < inputs.width),
        bottom - overlap * (bottom < inputs.height),
    )
    mask.paste(KEPT, kept)
    return FillCanvas(picture, mask, min(FEATHER, overlap))


def diptych(inputs: GenerationInputs) -> FillCanvas:
    """Return a canvas twice the request's width: the style picture left, the target right.

    The right half is repainted, or a region of it: where a content picture stands there with a mask (nearest). Raises
    Refused for one of them without the other: of the content nothing would be seen.
    """
    size = inputs.width, inputs.height
    [style], content, mask = inputs.pictures.styles, inputs.pictures.content, inputs.pictures.mask
    if (content is None) != (mask is None):
        raise Refused("with params.layout diptych, content_image and mask_image go together")
    picture = Image.new("RGB", (2 * inputs.width, inputs.height), GREY)
    picture.paste(resized(style, *size), (0, 0))
    if content is not None:
        picture.paste(resized(content, *size), (inputs.width, 0))
    whole = Image.new("L", picture.size, KEPT)
    region = mask.convert("L").resize(size, Image.Resampling.NEAREST) if mask else Image.new("L", size, REPAINTED)
    whole.paste(region, (inputs.width, 0))
    return FillCanvas(picture, whole)
