"""Mosaic: square tiles with grout between, laid a little askew."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from workers.training.starter.world.canvas import Canvas, Field, blur, over
from workers.training.starter.world.palette import Colour, hls


@dataclass(frozen=True)
class Mosaic:
    """`tile` side and `gap` in pixels, `angle` in radians, colour `scatter`, `grout` colour."""

    tile: float
    gap: float
    angle: float
    scatter: float
    grout: Colour

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        grout = hls(rng.uniform(), rng.uniform(0.1, 0.3), 0.2)
        return cls(
            rng.uniform(10, 13.5), rng.uniform(1.8, 2.6), rng.uniform(-0.35, 0.35), rng.uniform(0.05, 0.1), grout
        )

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        size = canvas.size
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) - size / 2
        u, v = (xs * cos + ys * sin) / self.tile, (-xs * sin + ys * cos) / self.tile
        column, row = np.floor(u), np.floor(v)
        centre_x, centre_y = (column + 0.5) * self.tile, (row + 0.5) * self.tile
        at_x = np.clip(centre_x * cos - centre_y * sin + size / 2, 0, size - 1).astype(int)
        at_y = np.clip(centre_x * sin + centre_y * cos + size / 2, 0, size - 1).astype(int)
        shades = noise.normal(0, self.scatter, (64, 64, 1)).astype(np.float32)
        tiles = canvas.colour[at_y, at_x] + shades[row.astype(int) % 64, column.astype(int) % 64]
        border = np.minimum(np.minimum(u - column, 1 - (u - column)), np.minimum(v - row, 1 - (v - row)))
        grouted = (border * self.tile < self.gap / 2).astype(np.float32)
        return over(np.clip(tiles, 0, 1), self.grout, blur(grouted, 0.6))
