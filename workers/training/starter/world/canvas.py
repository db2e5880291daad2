"""A scene rasterised with a palette: colours, region labels and outlines, the raw material of every style."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from workers.training.starter.world.palette import Palette
from workers.training.starter.world.scene import Scene

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Canvas:
    """Square layers of side `size`: `colour` (s, s, 3) in [0, 1]; `label` (s, s), 0 sky, 1 ground, then the object."""

    scene: Scene
    palette: Palette
    size: int
    colour: Field
    label: NDArray[np.uint8]

    @cached_property
    def luminance(self) -> Field:
        """Rec. 601 luma, (s, s)."""
        return (self.colour @ np.array([0.299, 0.587, 0.114], dtype=np.float32)).astype(np.float32)

    @cached_property
    def inside(self) -> Mask:
        """Where the object is."""
        return self.label > 1

    def outlines(self, width: int, *, ground: bool = True) -> Field:
        """Region borders as lines of odd `width` pixels, 1 on the line, (s, s)."""
        label = self.label if ground else np.where(self.label == 1, 0, self.label)
        edge = np.zeros(label.shape, dtype=bool)
        edge[:, 1:] |= label[:, 1:] != label[:, :-1]
        edge[1:, :] |= label[1:, :] != label[:-1, :]
        return from_image(to_image(edge.astype(np.float32)).filter(ImageFilter.MaxFilter(width | 1)))

    def silhouette(self, width: int) -> Field:
        """Only the border between object and surroundings, as lines of odd `width` pixels."""
        inside = to_image(self.inside.astype(np.float32))
        grown = inside.filter(ImageFilter.MaxFilter(width | 1))
        return from_image(grown) - from_image(inside.filter(ImageFilter.MinFilter(3)))


def rasterise(scene: Scene, palette: Palette, size: int = 256) -> Canvas:
    """Fill the scene's regions with the palette's colours."""
    label = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(label)
    table = [palette.sky, palette.ground]
    outlines = [scene.horizon, *(region.points for region in scene.regions)]
    for index, points in enumerate(outlines, start=1):
        pixels = (points + 1) * (size / 2)
        draw.polygon([(float(px), float(py)) for px, py in pixels], fill=index)
    table.extend(getattr(palette, region.role) for region in scene.regions)
    labels = np.asarray(label)
    return Canvas(scene, palette, size, np.stack(table)[labels].astype(np.float32), labels)


def to_image(field: Field) -> Image.Image:
    """(h, w) or (h, w, 3) in [0, 1] to an 8-bit picture."""
    return Image.fromarray((np.clip(field, 0, 1) * 255 + 0.5).astype(np.uint8))


def from_image(image: Image.Image) -> Field:
    """8-bit picture to float32 in [0, 1]."""
    pixels: Field = np.asarray(image, dtype=np.float32)
    return np.multiply(pixels, np.float32(1 / 255))


def blur(field: Field, radius: float) -> Field:
    """Gaussian blur of a field in [0, 1]."""
    return from_image(to_image(field).filter(ImageFilter.GaussianBlur(float(radius))))


def cloud(rng: np.random.Generator, size: int, cells: int) -> Field:
    """Smooth noise in [0, 1] with `cells` bumps along a side, (size, size)."""
    coarse = Image.fromarray(rng.uniform(0, 255, (cells + 1, cells + 1)).astype(np.uint8))
    return from_image(coarse.resize((size, size), Image.Resampling.BICUBIC))


def displaced(field: Field, dx: Field, dy: Field) -> Field:
    """Nearest-neighbour lookup at (x + dx, y + dy), offsets in pixels."""
    size = field.shape[0]
    ys, xs = np.mgrid[0:size, 0:size]
    rows = np.clip(np.rint(ys + dy).astype(int), 0, size - 1)
    columns = np.clip(np.rint(xs + dx).astype(int), 0, size - 1)
    moved: Field = field[rows, columns]
    return moved


def over(base: Field, ink: Field, alpha: Field) -> Field:
    """`ink`, a colour or a picture, laid over `base` with coverage `alpha` (s, s)."""
    return (base + (ink - base) * alpha[..., None]).astype(np.float32)
