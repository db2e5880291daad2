"""Flat colour, with a light shade over the sky."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from workers.training.starter.world.canvas import Canvas, Field


@dataclass(frozen=True)
class Flat:
    """`shade`: how much lighter the sky gets towards the ground."""

    shade: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        return cls(rng.uniform(0.0, 0.12))

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        ramp = np.linspace(-self.shade, self.shade, canvas.size, dtype=np.float32)[:, None, None]
        return np.where((canvas.label == 0)[..., None], canvas.colour + ramp, canvas.colour)
