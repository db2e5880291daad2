"""Ink wash: one ink in soft tones, brushed contours, much empty paper."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from workers.training.starter.world.canvas import Canvas, Field, blur, cloud, displaced, over
from workers.training.starter.world.palette import Colour, hls


@dataclass(frozen=True)
class InkWash:
    """`wet` blur in pixels, `depth` of the washes, `brush` width in pixels, ink and paper."""

    wet: float
    depth: float
    brush: int
    ink: Colour
    paper: Colour

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        ink = hls(rng.uniform(), rng.uniform(0.08, 0.16), rng.uniform(0.0, 0.45))
        paper = hls(rng.uniform(0.06, 0.16), rng.uniform(0.86, 0.94), rng.uniform(0.2, 0.5))
        return cls(rng.uniform(4, 8), rng.uniform(0.65, 0.9), int(rng.choice([5, 7, 9])), ink, paper)

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        size = canvas.size
        dark = np.select([canvas.label == 0, canvas.label == 1], [0.0, 0.28], 1.0 - canvas.luminance)
        dx, dy = ((cloud(noise, size, 16) - 0.5) * 8 for _ in range(2))
        wash = blur(displaced(dark.astype(np.float32), dx, dy), self.wet) * (0.45 + cloud(noise, size, 9) * 0.9)
        pressure = np.clip(cloud(noise, size, 12) * 1.8 - 0.1, 0.25, 1)
        contour = blur(displaced(canvas.silhouette(self.brush), dx * 0.4, dy * 0.4), 1.2) * pressure
        inner = blur(canvas.outlines(3) * canvas.inside, 1.0) * 0.5
        tone = np.clip(np.maximum(np.maximum(wash * self.depth, contour), inner), 0, 1)
        return over(np.broadcast_to(self.paper, canvas.colour.shape), self.ink, tone)
