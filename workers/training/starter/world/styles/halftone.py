"""Halftone: printed dots whose size carries the tone, in two inks."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from workers.training.starter.world.canvas import Canvas, Field, blur, over
from workers.training.starter.world.palette import Colour, hls


@dataclass(frozen=True)
class Halftone:
    """`pitch` of the screen in pixels, its `angle` in radians, the inks of object and scene, and the paper."""

    pitch: float
    angle: float
    ink: Colour
    tint: Colour
    paper: Colour

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        hue = rng.uniform()
        ink, tint = hls(hue, rng.uniform(0.2, 0.36), 0.9), hls(hue + rng.uniform(0.3, 0.7), 0.62, 0.8)
        return cls(rng.uniform(10, 14), rng.uniform(0.2, 1.2), ink, tint, hls(rng.uniform(), 0.95, 0.6))

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        ys, xs = np.mgrid[0 : canvas.size, 0 : canvas.size].astype(np.float32)
        u = xs * np.cos(self.angle) + ys * np.sin(self.angle)
        v = -xs * np.sin(self.angle) + ys * np.cos(self.angle)
        screen = 0.5 + 0.25 * (np.cos(2 * np.pi * u / self.pitch) + np.cos(2 * np.pi * v / self.pitch))
        scene = np.select([canvas.label == 0, canvas.label == 1], [0.2, 0.42], 0.0)
        tone = np.clip(1.0 - 0.85 * canvas.luminance, 0.08, 1.0) * canvas.inside
        picture = np.broadcast_to(self.paper, canvas.colour.shape)
        picture = over(picture, self.tint, blur((screen > 1 - scene).astype(np.float32), 0.8))
        return over(picture, self.ink, blur((screen > 1 - tone).astype(np.float32), 0.8))
