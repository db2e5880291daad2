"""Watercolour: bleeding borders, pigment gathered at the edges, mottled washes on paper."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from workers.training.starter.world.canvas import Canvas, Field, blur, cloud, displaced


@dataclass(frozen=True)
class Watercolour:
    """`bleed` in pixels of a 256-pixel canvas; `mottle`, `rim` and `wash` as fractions of full tone."""

    bleed: float
    mottle: float
    rim: float
    wash: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        return cls(rng.uniform(3, 7), rng.uniform(0.25, 0.5), rng.uniform(0.25, 0.5), rng.uniform(0.15, 0.35))

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        size = canvas.size
        dx, dy = ((cloud(noise, size, 24) - 0.5) * 2 * self.bleed for _ in range(2))
        wet = blur(displaced(canvas.colour, dx, dy), 1.6)
        rim = blur(displaced(canvas.outlines(3), dx, dy), 1.8) * self.rim
        pigment = 1 - self.wash + self.mottle * (cloud(noise, size, 7) * 0.7 + cloud(noise, size, 28) * 0.3 - 0.5)
        paper = 0.97 + 0.03 * noise.standard_normal((size, size, 1)).astype(np.float32)
        tone = (1 - wet) * (pigment + rim)[..., None]
        return (1 - tone) * paper
