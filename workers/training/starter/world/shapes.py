"""Outlines in object coordinates: x to the right, y down, the object inside [-1, 1] x [-1, 1]."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Role = Literal["main", "accent", "dark", "light"]


@dataclass(frozen=True)
class WorldShape:
    """A filled closed outline, (n, 2) points, and the palette role that colours it."""

    points: Points
    role: Role = "main"


def polygon(*corners: tuple[float, float], role: Role = "main") -> WorldShape:
    """Straight-edged outline through the corners."""
    return WorldShape(np.array(corners, dtype=np.float64), role)


def box(left: float, top: float, right: float, bottom: float, role: Role = "main") -> WorldShape:
    """Upright rectangle."""
    return polygon((left, top), (right, top), (right, bottom), (left, bottom), role=role)


def ellipse(
    x: float,
    y: float,
    rx: float,
    ry: float | None = None,
    *,
    start: float = 0.0,
    stop: float = 360.0,
    role: Role = "main",
) -> WorldShape:
    """Ellipse round (x, y), or its sector between two angles in degrees (0 = right, 90 = down)."""
    angles = np.radians(np.linspace(start, stop, 49))
    ring = np.stack([x + rx * np.cos(angles), y + (rx if ry is None else ry) * np.sin(angles)], axis=1)
    return WorldShape(ring[:-1] if stop - start >= 360 else ring, role)


def smooth(*corners: tuple[float, float], role: Role = "main", rounds: int = 3) -> WorldShape:
    """Closed curve that rounds the corners off by Chaikin's corner cutting."""
    points = np.array(corners, dtype=np.float64)
    for _ in range(rounds):
        following = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], axis=1).reshape(-1, 2)
    return WorldShape(points, role)


def stroke(path: Sequence[tuple[float, float]], width: float, role: Role = "dark") -> WorldShape:
    """Open path thickened to a band of the given width."""
    line = np.array(path, dtype=np.float64)
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * width / 2
    return WorldShape(np.concatenate([line + across, (line - across)[::-1]]), role)


def rotated(shape: WorldShape, degrees: float, x: float = 0.0, y: float = 0.0) -> WorldShape:
    """The shape turned clockwise on the screen about (x, y)."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return WorldShape((shape.points - (x, y)) @ turn + (x, y), shape.role)
