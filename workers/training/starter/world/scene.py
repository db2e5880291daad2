"""A scene: one object of some size at some place, over the ground and under the sky."""

from dataclasses import dataclass

import numpy as np

from workers.training.starter.world.objects import OBJECTS
from workers.training.starter.world.shapes import Points, Role


@dataclass(frozen=True)
class Placement:
    """Bounds of the object's centre offset and half-size, as fractions of half the picture."""

    shift: float = 0.22
    smallest: float = 0.5
    largest: float = 0.8


@dataclass(frozen=True)
class Region:
    """A filled outline in picture coordinates, (n, 2) in [-1, 1], with its palette role."""

    points: Points
    role: Role


@dataclass(frozen=True)
class Scene:
    """What the picture shows, before any style: the same scene can be drawn in every style."""

    object_name: str
    x: float
    y: float
    half_size: float
    horizon: Points
    regions: tuple[Region, ...]

    @property
    def size_word(self) -> str:
        """`small`, `large`, or nothing for the middle sizes."""
        return "small" if self.half_size < 0.57 else "large" if self.half_size > 0.73 else ""

    @property
    def place_word(self) -> str:
        """`left`, `right`, or nothing near the middle."""
        return "left" if self.x < -0.1 else "right" if self.x > 0.1 else ""


def build_scene(object_name: str, seed: int, placement: Placement | None = None) -> Scene:
    """The scene of that object that belongs to the seed."""
    bounds = placement or Placement()
    rng = np.random.default_rng([seed, 0x5CE4E])
    shapes = OBJECTS[object_name](rng)
    half_size = rng.uniform(bounds.smallest, bounds.largest)
    room = min(bounds.shift, 0.95 - half_size)
    x, y = rng.uniform(-1, 1) * room, rng.uniform(-0.5, 0.5) * room
    scaled = tuple(Region(shape.points * half_size + (x, y), shape.role) for shape in shapes)
    return Scene(object_name, x, y, half_size, _horizon(rng, y + half_size), scaled)


def _horizon(rng: np.random.Generator, foot: float) -> Points:
    """Ground outline whose upper edge is a gentle wave a little above the object's foot."""
    level = min(foot - rng.uniform(0.08, 0.28), 0.85)
    xs = np.linspace(-1.1, 1.1, 23)
    ys = level + rng.uniform(0.0, 0.05) * np.sin(xs * rng.uniform(1.5, 4.0) + rng.uniform(0, 2 * np.pi))
    return np.concatenate([np.stack([xs, ys], axis=1), [[1.1, 1.2], [-1.1, 1.2]]])
