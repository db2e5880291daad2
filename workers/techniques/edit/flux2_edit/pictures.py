"""What FLUX.2 [klein] sees of the request's pictures: the content image, then the style images, as latents."""

import math
from dataclasses import dataclass
from functools import cached_property

from PIL import Image
from torch import Tensor

from workers.contract.spec import Size
from workers.engine.backbones.flux2 import Flux2
from workers.engine.cache.style_cache import key_of
from workers.engine.errors import Refused
from workers.engine.images import digest, to_signed
from workers.engine.technique import GenerationInputs, PrepareContext
from workers.techniques.joint_attention import strengths

LEAST_SIDE, MOST_RATIO = 64, 8


@dataclass(frozen=True)
class ReferencePicture:
    """A picture that the model sees: scaled, its middle cropped to `size`; and the factor on the attention to it."""

    original: Image.Image
    scaled: Size
    size: Size
    factor: float = 1.0
    of_style: bool = True

    @cached_property
    def image(self) -> Image.Image:
        """The picture as the model sees it, RGB; scaled by Lanczos."""
        rgb, (width, height) = self.original.convert("RGB"), self.size
        whole = rgb if rgb.size == self.scaled else rgb.resize(self.scaled, Image.Resampling.LANCZOS)
        left, top = (self.scaled[0] - width) // 2, (self.scaled[1] - height) // 2
        return whole.crop((left, top, left + width, top + height))

    def latents(self, context: PrepareContext) -> Tensor:
        """Return its latents (1, 128, h, w) float32, from the style cache where they are there."""
        backbone = context.backbone
        facts = {"what": "flux2 reference", "weights": backbone.fingerprint, "image": digest(self.image)}

        def build() -> dict[str, Tensor]:
            return {"latents": backbone.encode(to_signed(self.image))}

        return context.cache.get(key_of(**facts), build, of_style=self.of_style)["latents"].to(backbone.device)


def reference_pictures(inputs: GenerationInputs, size: int, backbone: Flux2) -> tuple[ReferencePicture, ...]:
    """Return the pictures that count, in the order in which the prompt speaks of them; without style at strength 0.

    Raises Refused for a picture that the model was not made for.
    """
    content, styles = inputs.pictures.content, inputs.pictures.styles if inputs.strength > 0 else ()
    found = []
    if content is not None:
        sizes = fitted_sizes(content.size, "content_image", size, backbone.size_multiple)
        found.append(ReferencePicture(content, *sizes, of_style=False))
    for i, (style, factor) in enumerate(zip(styles, strengths(inputs, len(styles)) if styles else (), strict=True)):
        field = "style_image" if len(styles) == 1 else f"style_image {i + 1}"
        sizes = fitted_sizes(style.size, field, size, backbone.size_multiple)
        found.append(ReferencePicture(style, *sizes, factor))
    return tuple(found)


def fitted_sizes(size: Size, field: str, most: int, multiple: int) -> tuple[Size, Size]:
    """Return the size a picture is scaled to, at most `most` squared pixels, and that in multiples of `multiple`.

    Raises Refused naming the field for one that is too small or too long.
    """
    width, height = size
    if min(width, height) < LEAST_SIDE:
        raise Refused(f"{field} must be at least {LEAST_SIDE} pixels wide and high, not {width}x{height}")
    if max(width, height) > MOST_RATIO * min(width, height):
        raise Refused(f"{field} must be at most {MOST_RATIO} times as long as wide, not {width}x{height}")
    if width * height > most * most:
        scale = math.sqrt(most * most / (width * height))
        width, height = int(width * scale), int(height * scale)
    return (width, height), (width // multiple * multiple, height // multiple * multiple)
