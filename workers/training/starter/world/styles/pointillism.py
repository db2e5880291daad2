"""Pointillism: touching dots of broken colour."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image, ImageDraw

from workers.training.starter.world.canvas import Canvas, Field, from_image


@dataclass(frozen=True)
class Pointillism:
    """`spacing` of the dots in pixels, `radius` as its fraction, `scatter` of their colour."""

    spacing: float
    radius: float
    scatter: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        return cls(rng.uniform(9, 12), rng.uniform(0.5, 0.62), rng.uniform(0.1, 0.17))

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        size, step = canvas.size, self.spacing
        grid = np.mgrid[0 : size + step : step, 0 : size + step : step].reshape(2, -1).T
        centres = grid + noise.uniform(-0.4, 0.4, grid.shape) * step
        noise.shuffle(centres)
        nearest = np.clip(centres, 0, size - 1).astype(int)
        colours = canvas.colour[nearest[:, 0], nearest[:, 1]]
        colours = colours + noise.normal(0, self.scatter, colours.shape)
        fills = (np.clip(colours, 0, 1) * 255).astype(int)
        radii = noise.uniform(0.85, 1.15, len(centres)) * step * self.radius
        picture = Image.new("RGB", (size, size), (245, 240, 230))
        draw = ImageDraw.Draw(picture)
        for (y, x), radius, fill in zip(centres, radii, fills, strict=True):
            draw.ellipse(
                (x - radius, y - radius, x + radius, y + radius), fill=(int(fill[0]), int(fill[1]), int(fill[2]))
            )
        return from_image(picture)
