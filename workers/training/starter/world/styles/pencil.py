"""Pencil hatching: outlines and crossed lines whose number grows with the tone."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from workers.training.starter.world.canvas import Canvas, Field, blur, cloud, displaced, over
from workers.training.starter.world.palette import Colour, hls


@dataclass(frozen=True)
class Pencil:
    """`spacing` of the lines in pixels, `angle` in radians, colours of lead and paper."""

    spacing: float
    angle: float
    lead: Colour
    paper: Colour

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        lead = hls(rng.uniform(), rng.uniform(0.12, 0.3), rng.uniform(0.0, 0.7))
        paper = hls(rng.uniform(0.05, 0.2), rng.uniform(0.93, 0.98), 0.5)
        return cls(rng.uniform(13, 18), rng.uniform(0.4, 1.2), lead, paper)

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        size = canvas.size
        wobble = [(cloud(noise, size, 10) - 0.5) * 5 for _ in range(2)]
        dark = 1 - canvas.luminance
        ys, xs = np.mgrid[0:size, 0:size].astype(np.float32)
        ink = np.zeros((size, size), dtype=np.float32)
        for turn, tone in ((0.0, 0.42), (1.3, 0.62), (0.7, 0.8)):
            across = (xs + wobble[0]) * np.sin(self.angle + turn) + (ys + wobble[1]) * np.cos(self.angle + turn)
            line = np.cos(2 * np.pi * across / self.spacing) > 0.3
            ink = np.maximum(ink, line * (dark > tone) * 0.75)
        line = displaced(canvas.outlines(3), wobble[0] * 0.5, wobble[1] * 0.5)
        ink = np.maximum(blur(ink, 0.6), line * 0.95) * (0.7 + 0.3 * cloud(noise, size, 60))
        return over(np.broadcast_to(self.paper, canvas.colour.shape), self.lead, ink)
