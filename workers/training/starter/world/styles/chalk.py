"""Chalk on a board: grainy outlines and rubbed fillings."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from workers.training.starter.world.canvas import Canvas, Field, blur, cloud, over
from workers.training.starter.world.palette import Colour, hls


@dataclass(frozen=True)
class Chalk:
    """Board colour, `grain` of the board against the stick, `fill` coverage, `line` width in pixels."""

    board: Colour
    grain: float
    fill: float
    line: int

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        board = hls(rng.uniform(), rng.uniform(0.12, 0.22), rng.uniform(0.05, 0.5))
        return cls(board, rng.uniform(0.35, 0.6), rng.uniform(0.35, 0.6), int(rng.choice([5, 7])))

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        size = canvas.size
        tooth = noise.uniform(0, 1, (size, size)).astype(np.float32) * 0.6 + cloud(noise, size, 80) * 0.4
        cover = np.where(canvas.inside, self.fill, np.where(canvas.label == 1, self.fill * 0.4, 0.05))
        rubbed = np.clip((cover - tooth * self.grain) * 2.2, 0, 0.85).astype(np.float32)
        pastel = 0.35 + 0.65 * canvas.colour
        picture = over(np.broadcast_to(self.board, canvas.colour.shape), pastel, blur(rubbed, 0.7))
        lines = blur(canvas.outlines(self.line), 0.8) * np.clip(1.25 - tooth * self.grain, 0, 1)
        return over(picture, np.full(3, 0.96, dtype=np.float32), lines)
