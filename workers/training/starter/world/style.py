"""What a rendering style is."""

from typing import Protocol, Self

import numpy as np

from workers.training.starter.world.canvas import Canvas, Field


class WorldStyle(Protocol):
    """One instance of a family: its parameters fixed, ready to draw any canvas."""

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Parameters of a random instance."""
        ...

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """The picture, (size, size, 3) in [0, 1]; `noise` varies between pictures of one instance."""
        ...
