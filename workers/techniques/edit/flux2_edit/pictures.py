"""What FLUX.2 [klein] sees of the request's pictures: the content image, then the style images, as latents."""

import math
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from workers.engine.backbones.flux2 import Flux2
from workers.engine.cache.style_cache import key_of
from workers.engine.errors import Refused
from workers.engine.images import digest, to_signed
from workers.engine.technique import GenerationInputs, PrepareContext
from workers.techniques.joint_attention import strengths

LEAST_SIDE, MOST_RATIO = 64, 8


@dataclass(frozen=True)
class ReferencePicture:
    """A picture that the model sees, of its final size, and the factor on the attention to it."""

    image: Image.Image
    factor: float = 1.0
    of_style: bool = True

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
        found.append(ReferencePicture(fitted(content, "content_image", size, backbone.size_multiple), of_style=False))
    for i, (style, factor) in enumerate(zip(styles, strengths(inputs, len(styles)) if styles else (), strict=True)):
        field = "style_image" if len(styles) == 1 else f"style_image {i + 1}"
        found.append(ReferencePicture(fitted(style, field, size, backbone.size_multiple), factor))
    return tuple(found)


def fitted(image: Image.Image, field: str, size: int, multiple: int) -> Image.Image:
    """Return a picture of at most `size` squared pixels (Lanczos), its middle cropped to multiples of `multiple`.

    Raises Refused naming the field for one that is too small or too long.
    """
    width, height = image.size
    if min(width, height) < LEAST_SIDE:
        raise Refused(f"{field} must be at least {LEAST_SIDE} pixels wide and high, not {width}x{height}")
    if max(width, height) > MOST_RATIO * min(width, height):
        raise Refused(f"{field} must be at most {MOST_RATIO} times as long as wide, not {width}x{height}")
    image = image.convert("RGB")
    if width * height > size * size:
        scale = math.sqrt(size * size / (width * height))
        width, height = int(width * scale), int(height * scale)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    across, down = width // multiple * multiple, height // multiple * multiple
    left, top = (width - across) // 2, (height - down) // 2
    return image.crop((left, top, left + across, top + down))
