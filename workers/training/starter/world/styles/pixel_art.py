"""Pixel art: coarse square pixels with a dark contour and few tones."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

from workers.training.starter.world.canvas import Canvas, Field, from_image, over, to_image


@dataclass(frozen=True)
class PixelArt:
    """`cells` along a side, `tones` per channel, `contour` strength, `dither` of the sky."""

    cells: int
    tones: int
    contour: float
    dither: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        return cls(int(rng.integers(22, 31)), int(rng.integers(4, 8)), rng.uniform(0.5, 1.0), rng.uniform(0.02, 0.1))

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        lined = over(canvas.colour, canvas.palette.dark * 0.5, canvas.silhouette(5) * self.contour)
        small = to_image(lined).resize((self.cells, self.cells), Image.Resampling.BOX)
        checks = np.indices((self.cells, self.cells)).sum(axis=0)[..., None] % 2 - 0.5
        tones = np.round((from_image(small) + checks * self.dither) * (self.tones - 1)) / (self.tones - 1)
        return from_image(to_image(tones).resize((canvas.size, canvas.size), Image.Resampling.NEAREST))
