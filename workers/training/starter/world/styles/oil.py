"""Oil: overlapping directional strokes, coarse below and fine at the object."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import ImageDraw

from workers.training.starter.world.canvas import Canvas, Field, blur, from_image, to_image


@dataclass(frozen=True)
class Oil:
    """`length` and `width` of strokes in pixels, base `angle` in radians, colour `scatter`, `relief` of the paint."""

    length: float
    width: float
    angle: float
    scatter: float
    relief: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        angle = rng.uniform(0, np.pi)
        return cls(rng.uniform(16, 26), rng.uniform(6, 9), angle, rng.uniform(0.05, 0.1), rng.uniform(1.5, 3))

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        picture = to_image(blur(canvas.colour, 3.0))
        draw = ImageDraw.Draw(picture)
        anywhere = noise.integers(0, canvas.size, (650, 2))
        self._strokes(draw, canvas, noise, anywhere, 1.0)
        rows, columns = np.nonzero(canvas.inside)
        chosen = noise.integers(0, len(rows), 420)
        self._strokes(draw, canvas, noise, np.stack([rows[chosen], columns[chosen]], axis=1), 0.55)
        paint = from_image(picture)
        soft = blur(paint.mean(axis=2), 0.8)
        slope = soft - np.roll(soft, (1, 1), axis=(0, 1))
        return np.clip(paint + self.relief * slope[..., None] * 0.5, 0, 1)

    def _strokes(
        self, draw: ImageDraw.ImageDraw, canvas: Canvas, noise: np.random.Generator, at: np.ndarray, scale: float
    ) -> None:
        angles = self.angle + noise.normal(0, 0.35, len(at)) + (0.8 if scale < 1 else 0.0)
        colours = canvas.colour[at[:, 0], at[:, 1]] + noise.normal(0, self.scatter, (len(at), 1))
        fills = (np.clip(colours, 0, 1) * 255).astype(int)
        for (y, x), angle, fill in zip(at, angles, fills, strict=True):
            dx, dy = np.cos(angle) * self.length * scale / 2, np.sin(angle) * self.length * scale / 2
            ends = (float(x - dx), float(y - dy), float(x + dx), float(y + dy))
            draw.line(ends, fill=(int(fill[0]), int(fill[1]), int(fill[2])), width=round(self.width * scale))
