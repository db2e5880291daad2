"""A picture of the world from its names and seeds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.training.starter.world.canvas import rasterise, to_image
from workers.training.starter.world.palette import random_palette
from workers.training.starter.world.registry import STYLES
from workers.training.starter.world.scene import Placement, build_scene

DRAWN_SIZE = 256
SIZE = 128


@dataclass(frozen=True)
class PictureSpec:
    """All that a picture depends on. Equal `style` and `style_seed` mean the same style instance, palette included;
    equal `object_name` and `scene_seed` mean the same content."""

    object_name: str
    scene_seed: int
    style: str
    style_seed: int
    colour_word: str = ""


def draw(spec: PictureSpec, placement: Placement | None = None, size: int = SIZE) -> NDArray[np.uint8]:
    """The picture, (size, size, 3) uint8 RGB: drawn at twice the size, then Lanczos."""
    family = np.random.default_rng([spec.style_seed, list(STYLES).index(spec.style), 0x57713])
    palette = random_palette(family)
    if spec.colour_word:
        palette = palette.with_main(spec.colour_word)
    style = STYLES[spec.style].sample(family)
    canvas = rasterise(build_scene(spec.object_name, spec.scene_seed, placement), palette, DRAWN_SIZE)
    noise = np.random.default_rng([spec.scene_seed, spec.style_seed, 0x401])
    picture = to_image(style.render(canvas, noise))
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS))
