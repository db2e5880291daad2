"""Woodcut: two inks, the object cut in bold, the background in carved lines."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from workers.training.starter.world.canvas import Canvas, Field, blur, cloud, over
from workers.training.starter.world.palette import Colour, hls


@dataclass(frozen=True)
class Woodcut:
    """`spacing` and `wave` of the carved lines in pixels, and the two colours."""

    spacing: float
    wave: float
    ink: Colour
    paper: Colour

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        ink = hls(rng.uniform(), rng.uniform(0.08, 0.2), rng.uniform(0.2, 0.8))
        paper = hls(rng.uniform(), rng.uniform(0.8, 0.92), rng.uniform(0.3, 0.7))
        return cls(rng.uniform(11, 16), rng.uniform(4, 14), ink, paper)

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        size = canvas.size
        ys = np.arange(size, dtype=np.float32)[:, None] + self.wave * cloud(noise, size, 5)
        carve = 0.5 + 0.5 * np.cos(2 * np.pi * ys / self.spacing)
        dark = np.select([canvas.label == 0, canvas.label == 1], [0.22, 0.42], 1.05 - 0.75 * canvas.luminance)
        ink = (carve < np.clip(dark, 0, 0.96)).astype(np.float32)
        ring = canvas.silhouette(11)
        ink = np.where(canvas.inside, np.maximum(ink, canvas.outlines(5)), ink * (1 - ring))
        ink = np.maximum(ink, canvas.silhouette(3))
        chips = (cloud(noise, size, 90) > 0.08).astype(np.float32)
        return over(np.broadcast_to(self.paper, canvas.colour.shape), self.ink, blur(ink * chips, 0.7))
