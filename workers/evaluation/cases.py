"""The fixed set of what is asked: a reference in a style never trained on, and another object to draw in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from workers.training.starter.dataset import Portion, chunk_specs
from workers.training.starter.recipe import StarterConfig
from workers.training.starter.world.captions import caption
from workers.training.starter.world.picture import PictureSpec, draw

SEED = 20


@dataclass(frozen=True)
class Case:
    """A style picture showing `shown`, the object `asked` for instead, and a flat picture of it as content."""

    style: Image.Image
    content: Image.Image
    style_name: str
    shown: str
    asked: str
    seed: int

    @property
    def prompt(self) -> str:
        """The object's name alone: what style there is comes from the reference."""
        return caption(self.asked)


def cases(recipe: StarterConfig, count: int) -> list[Case]:
    """Return the first `count` cases of the recipe's world: object-style pairs and style instances never trained on."""
    portion = Portion(recipe.objects, recipe.styles, recipe.placement, count, 0.0, "unseen", True, SEED)
    specs: list[PictureSpec] = []
    while len(specs) < count:
        specs.extend(chunk_specs(portion, len(specs))[::2])  # the others share their neighbour's style instance
    rng = np.random.default_rng(SEED)
    return [_case(recipe, spec, rng, seed) for seed, spec in enumerate(specs[:count])]


def _case(recipe: StarterConfig, spec: PictureSpec, rng: np.random.Generator, seed: int) -> Case:
    asked = str(rng.choice([name for name in recipe.objects if name != spec.object_name]))
    flat = PictureSpec(asked, int(rng.integers(2**31)), "flat", spec.style_seed + 1)
    style, content = (Image.fromarray(draw(each, recipe.placement)) for each in (spec, flat))
    return Case(style, content, spec.style, spec.object_name, asked, seed)


def pixels(pictures: Sequence[Image.Image]) -> np.ndarray:
    """Return RGB pictures as (n, h, w, 3) uint8."""
    return np.stack([np.asarray(picture) for picture in pictures])
