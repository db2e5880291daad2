"""Paper cut-out: layers of coloured paper, each with its shadow."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image, ImageDraw

from workers.training.starter.world.canvas import Canvas, Field, blur, cloud, from_image, over


@dataclass(frozen=True)
class PaperCut:
    """`shadow` offset in pixels and its `strength`, `softness` in pixels, `grain` of the paper."""

    shadow: tuple[float, float]
    strength: float
    softness: float
    grain: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """See the protocol."""
        offset = (rng.uniform(4, 8) * rng.choice([-1, 1]), rng.uniform(5, 9))
        return cls(offset, rng.uniform(0.5, 0.75), rng.uniform(2, 4), rng.uniform(0.03, 0.08))

    def render(self, canvas: Canvas, noise: np.random.Generator) -> Field:
        """See the protocol."""
        palette, scene = canvas.palette, canvas.scene
        picture = np.broadcast_to(palette.sky, canvas.colour.shape)
        sheets = [(scene.horizon, palette.ground)]
        sheets += [(region.points, getattr(palette, region.role)) for region in scene.regions]
        for points, colour in sheets:
            outline = (points + 1) * (canvas.size / 2)
            shade = blur(_filled(outline + self.shadow, canvas.size), self.softness) * self.strength
            picture = over(picture, np.zeros(3, dtype=np.float32), shade)
            picture = over(picture, colour, _filled(outline, canvas.size))
        fibres = cloud(noise, canvas.size, 110) * 0.6 + cloud(noise, canvas.size, 40) * 0.4 - 0.5
        return np.clip(picture + 2 * self.grain * fibres[..., None], 0, 1)


def _filled(outline: np.ndarray, size: int) -> Field:
    mask = Image.new("L", (size, size), 0)
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in outline], fill=255)
    return from_image(mask)
