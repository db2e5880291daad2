"""The picture that is filled in, and the mask of what is: white is repainted."""

from dataclasses import dataclass

from PIL import Image, ImageFilter

from workers.engine.errors import Refused
from workers.engine.technique import GenerationInputs

GREY, KEPT, REPAINTED = (127, 127, 127), 0, 255
FEATHER = 8
"""Pixels over which what was kept goes over into what was painted."""


@dataclass(frozen=True)
class FillCanvas:
    """A picture (RGB) and its mask (grey) of the request's size."""

    picture: Image.Image
    mask: Image.Image

    def keep(self, painted: Image.Image) -> Image.Image:
        """Return a painted picture with what was not repainted as it was; the model does not keep it exactly."""
        blurred = self.mask.filter(ImageFilter.GaussianBlur(FEATHER / 2))
        soft = Image.composite(Image.new("L", self.mask.size, REPAINTED), blurred, self.mask)
        return Image.composite(painted, self.picture, soft)

    def without_left(self, width: int) -> "FillCanvas":
        """Return a diptych whose left half of that width is grey and repainted: nothing of the style image is seen."""
        picture, mask = self.picture.copy(), self.mask.copy()
        picture.paste(GREY, (0, 0, width, picture.height))
        mask.paste(REPAINTED, (0, 0, width, mask.height))
        return FillCanvas(picture, mask)


def of_mask(inputs: GenerationInputs) -> FillCanvas:
    """Return the content picture and its mask, both squashed to the request's size (Lanczos)."""
    content, mask = inputs.pictures.content, inputs.pictures.mask
    if content is None or mask is None:
        raise Refused("a content_image with a mask_image is needed, or left and top to paint around the content_image")
    size, lanczos = (inputs.width, inputs.height), Image.Resampling.LANCZOS
    return FillCanvas(content.convert("RGB").resize(size, lanczos), mask.convert("L").resize(size, lanczos))


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
    return FillCanvas(picture, mask)


def diptych(inputs: GenerationInputs) -> FillCanvas:
    """Return a canvas twice the request's width: the style picture left, the target right.

    The right half is repainted, or a region of it: where a content picture stands there with a mask (nearest).
    """
    size, lanczos = (inputs.width, inputs.height), Image.Resampling.LANCZOS
    [style], content, mask = inputs.pictures.styles, inputs.pictures.content, inputs.pictures.mask
    picture = Image.new("RGB", (2 * inputs.width, inputs.height), GREY)
    picture.paste(style.convert("RGB").resize(size, lanczos), (0, 0))
    if content is not None:
        picture.paste(content.convert("RGB").resize(size, lanczos), (inputs.width, 0))
    whole = Image.new("L", picture.size, KEPT)
    region = mask.convert("L").resize(size, Image.Resampling.NEAREST) if mask else Image.new("L", size, REPAINTED)
    whole.paste(region, (inputs.width, 0))
    return FillCanvas(picture, whole)
