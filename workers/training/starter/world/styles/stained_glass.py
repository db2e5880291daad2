"""Stained glass: glowing panes between dark leads; the object keeps its own leads."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

from workers.training.starter.world.canvas import Canvas, Field, blur, cloud, from_image, over, to_image


@dataclass(frozen=True)
class StainedGlass:
    """`panes` in the background, `lead` width in pixels, `glow` and colour `scatter` of the panes."""

    panes: int
    lead: int
    glow: float
    scatter: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        return cls(int(rng.integers(16, 30)), int(rng.integers(5, 8)), rng.uniform(0.15, 0.35), rng.uniform(0.07, 0.13))

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        size, half = canvas.size, canvas.size // 2
        points = noise.uniform(0, half, (self.panes, 2)).astype(np.float32)
        ys, xs = np.mgrid[0:half, 0:half].astype(np.float32)
        distance = (ys[..., None] - points[:, 0]) ** 2 + (xs[..., None] - points[:, 1]) ** 2
        pane = np.repeat(np.repeat(distance.argmin(axis=-1), 2, axis=0), 2, axis=1)
        pane = np.where(canvas.inside, self.panes + canvas.label, pane + 100 * (canvas.label == 1))
        shades = 1 + noise.normal(0, self.scatter, (400, 3)).astype(np.float32)
        glass = np.clip(canvas.colour**1.4 * shades[pane], 0, 1)
        light = 1 + self.glow * (cloud(noise, size, 5)[..., None] * 2 - 1)
        edge = np.zeros((size, size), dtype=np.float32)
        edge[1:, :] = pane[1:, :] != pane[:-1, :]
        edge[:, 1:] += pane[:, 1:] != pane[:, :-1]
        leads = np.maximum(_thick(edge, self.lead), canvas.silhouette(self.lead + 4))
        return over(glass * light, np.full(3, 0.06, dtype=np.float32), blur(leads, 0.8))


def _thick(edge: Field, width: int) -> Field:
    small = to_image(edge).resize((edge.shape[1] // 2, edge.shape[0] // 2), Image.Resampling.BOX)
    lines = from_image(small.resize(edge.shape, Image.Resampling.BICUBIC))
    return np.clip(blur(lines, width / 4) * width * 0.6, 0, 1)
