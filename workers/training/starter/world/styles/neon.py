"""Neon tubes along the outlines, glowing over the dark."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from workers.training.starter.world.canvas import Canvas, Field, blur
from workers.training.starter.world.palette import Colour, hls


@dataclass(frozen=True)
class Neon:
    """`tube` width and `glow` radius in pixels; colours of the object's tube, the ground's tube and the wall."""

    tube: int
    glow: float
    bright: Colour
    second: Colour
    wall: Colour

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        hue = rng.uniform()
        second = hls(hue + rng.uniform(0.25, 0.75), 0.6, 1.0)
        wall = hls(rng.uniform(), rng.uniform(0.03, 0.1), 0.6)
        return cls(int(rng.choice([3, 5, 7])), rng.uniform(6, 12), hls(hue, 0.6, 1.0), second, wall)

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        ring, lines = canvas.silhouette(self.tube), canvas.outlines(3)
        inner = lines * canvas.inside * 0.8
        ground = lines * ~canvas.inside * (1 - ring) * 0.7
        picture = np.broadcast_to(self.wall, canvas.colour.shape).copy()
        for line, colour in ((ring, self.bright), (inner, self.second), (ground, self.second)):
            halo = 1.6 * blur(line, self.glow) + 0.9 * blur(line, self.glow * 0.3)
            picture += halo[..., None] * colour + blur(line, 0.8)[..., None] * (0.35 + 0.65 * colour)
        return np.clip(picture, 0, 1).astype(np.float32)
