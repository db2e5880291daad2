"""Blueprint: light construction lines on a coloured sheet with a grid."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from workers.training.starter.world.canvas import Canvas, Field, blur, cloud, over
from workers.training.starter.world.palette import Colour, hls


@dataclass(frozen=True)
class Blueprint:
    """Sheet and line colours, `grid` pitch and `line` width in pixels, `tint` of the object's filling."""

    sheet: Colour
    ink: Colour
    grid: int
    line: int
    tint: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        hue = rng.uniform(0.52, 0.7)
        ink = hls(hue + rng.uniform(-0.1, 0.1), 0.92, 0.6)
        sheet = hls(hue, rng.uniform(0.22, 0.4), rng.uniform(0.5, 0.85))
        return cls(sheet, ink, int(rng.integers(16, 30)), int(rng.choice([3, 5])), rng.uniform(0.05, 0.2))

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        size = canvas.size
        rule = np.zeros((size, size), dtype=np.float32)
        rule[:: self.grid, :] = rule[:, :: self.grid] = 0.35
        rule[1 :: self.grid, :] = rule[:, 1 :: self.grid] = 0.35
        lines = np.maximum(canvas.outlines(3) * 0.85, canvas.silhouette(self.line))
        cover = np.maximum(np.maximum(rule, blur(lines, 0.5)), canvas.inside * self.tint)
        mottled = self.sheet * (0.9 + 0.2 * cloud(noise, size, 6)[..., None])
        return over(mottled.astype(np.float32), self.ink, cover)
