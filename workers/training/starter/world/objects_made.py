"""Made objects; each function draws one, with small variations from the generator."""

import numpy as np

from workers.training.starter.world.shapes import WorldShape, box, ellipse, polygon, rotated, smooth, stroke

Rng = np.random.Generator


def house(rng: Rng) -> list[WorldShape]:
    """Gabled house with a door and two windows."""
    eaves = rng.uniform(-0.25, -0.12)
    return [
        box(0.42, -0.9, 0.64, -0.2, role="dark"),
        box(-0.78, eaves - 0.02, 0.78, 1.0),
        polygon((-1.05, eaves), (0.0, -1.0), (1.05, eaves), role="accent"),
        box(-0.17, 0.4, 0.17, 1.0, role="dark"),
        box(-0.62, 0.15, -0.3, 0.5, role="light"),
        box(0.3, 0.15, 0.62, 0.5, role="light"),
    ]


def boat(rng: Rng) -> list[WorldShape]:
    """Sailing boat with two sails."""
    mast = rng.uniform(-0.1, 0.02)
    return [
        box(mast - 0.05, -1.05, mast + 0.05, 0.5, role="dark"),
        polygon((mast + 0.1, -1.0), (mast + 0.1, 0.3), (0.92, 0.3), role="light"),
        polygon((mast - 0.1, -0.75), (mast - 0.1, 0.3), (-0.72, 0.3), role="accent"),
        polygon((-1.1, 0.42), (1.1, 0.42), (0.7, 1.0), (-0.7, 1.0)),
    ]


def car(rng: Rng) -> list[WorldShape]:
    """Side view of a small car."""
    roof = rng.uniform(-0.62, -0.5)
    body = [
        polygon((-0.72, 0.05), (-0.42, roof), (0.38, roof), (0.72, 0.05)),
        smooth((-1.12, 0.0), (1.12, 0.0), (1.12, 0.62), (-1.12, 0.62), rounds=2),
    ]
    windows = [
        polygon((-0.52, 0.0), (-0.32, roof + 0.14), (-0.06, roof + 0.14), (-0.06, 0.0), role="light"),
        polygon((0.06, 0.0), (0.06, roof + 0.14), (0.3, roof + 0.14), (0.5, 0.0), role="light"),
    ]
    wheels = [ellipse(s * 0.58, 0.58, 0.28, role="dark") for s in (-1, 1)]
    hubs = [ellipse(s * 0.58, 0.58, 0.12, role="light") for s in (-1, 1)]
    return [*body, *windows, *wheels, *hubs]


def cup(rng: Rng) -> list[WorldShape]:
    """Cup with a handle and steam."""
    top = rng.uniform(-0.4, -0.3)
    handle = ellipse(0.66, 0.25, 0.42, 0.4)
    hole = ellipse(0.66, 0.25, 0.22, 0.2, role="light")
    body = smooth((-0.8, top - 0.1), (0.7, top - 0.1), (0.62, 1.1), (-0.72, 1.1), rounds=2)
    steam = [
        stroke([(x, -0.6), (x + 0.12, -0.75), (x - 0.06, -0.9), (x + 0.06, -1.05)], 0.09, "accent")
        for x in (-0.35, 0.1)
    ]
    return [handle, hole, body, ellipse(-0.05, top + 0.02, 0.62, 0.12, role="dark"), *steam]


def umbrella(rng: Rng) -> list[WorldShape]:
    """Open umbrella with a hooked handle."""
    wide = rng.uniform(0.98, 1.08)
    rim = [(wide * (1 - 2 * i / 24), 0.02 - 0.13 * abs(np.sin(np.pi * i / 6))) for i in range(25)]
    dome = ellipse(0, 0.02, wide, 0.92, start=180, stop=360).points
    canopy = WorldShape(np.concatenate([dome, np.array(rim)]))
    panel = polygon((0, -0.9), (-0.34, -0.02), (-0.17, -0.11), (0.17, -0.11), (0.34, -0.02), role="accent")
    hook = stroke([(0, -0.1), (0, 0.4), (0, 0.75), (0.06, 0.93), (0.2, 0.98), (0.33, 0.9), (0.36, 0.75)], 0.11)
    return [hook, canopy, panel, box(-0.04, -1.08, 0.04, -0.85, role="dark")]


def rocket(rng: Rng) -> list[WorldShape]:
    """Upright rocket with fins, a porthole and a flame."""
    slim = rng.uniform(0.34, 0.4)
    return [
        polygon((-0.2, 0.6), (0.2, 0.6), (0.0, 1.15), role="light"),
        polygon((-slim + 0.05, 0.1), (-0.8, 0.75), (-slim + 0.05, 0.65), role="accent"),
        polygon((slim - 0.05, 0.1), (0.8, 0.75), (slim - 0.05, 0.65), role="accent"),
        smooth((0, -1.3), (slim * 1.3, -0.5), (slim, 0.8), (-slim, 0.8), (-slim * 1.3, -0.5)),
        ellipse(0, -0.28, 0.18, role="light"),
        box(-slim * 0.85, 0.38, slim * 0.85, 0.5, role="dark"),
    ]


def heart(rng: Rng) -> list[WorldShape]:
    """Two round lobes over a point."""
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    wide = rng.uniform(0.98, 1.08)
    x = wide * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 14.5 - 0.15
    return [WorldShape(np.stack([x, y], axis=1))]


def key(rng: Rng) -> list[WorldShape]:
    """Ring and toothed shaft, lying on a slant."""
    tilt = rng.uniform(25, 55)
    parts = [
        ellipse(-0.62, 0, 0.48),
        ellipse(-0.62, 0, 0.22, role="light"),
        box(-0.2, -0.11, 1.2, 0.11),
        box(0.62, 0.05, 0.8, 0.45),
        box(0.98, 0.05, 1.16, 0.52),
    ]
    return [rotated(part, tilt) for part in parts]


def castle(rng: Rng) -> list[WorldShape]:
    """Two towers, a battlement and a gate."""
    tall = rng.uniform(-0.62, -0.5)
    towers = [box(s * 0.75 - 0.3, tall, s * 0.75 + 0.3, 1.0) for s in (-1, 1)]
    teeth = [box(x - 0.1, -0.22, x + 0.1, 0.1) for x in (-0.3, 0.0, 0.3)]
    roofs = [
        polygon((s * 0.75 - 0.38, tall), (s * 0.75, -1.1), (s * 0.75 + 0.38, tall), role="accent") for s in (-1, 1)
    ]
    slits = [box(s * 0.75 - 0.07, -0.25, s * 0.75 + 0.07, 0.1, role="dark") for s in (-1, 1)]
    gate = [ellipse(0, 0.6, 0.24, role="dark"), box(-0.24, 0.6, 0.24, 1.0, role="dark")]
    return [box(-0.6, 0.0, 0.6, 1.0), *teeth, *towers, *roofs, *slits, *gate]


def balloon(rng: Rng) -> list[WorldShape]:
    """Hot-air balloon with a basket."""
    wide = rng.uniform(0.74, 0.82)
    envelope = smooth(
        (0, -1.25),
        (wide * 1.25, -1.1),
        (wide * 1.2, -0.1),
        (0.2, 0.58),
        (-0.2, 0.58),
        (-wide * 1.2, -0.1),
        (-wide * 1.25, -1.1),
    )
    gore = smooth(
        (0, -1.2), (0.32, -0.9), (0.32, -0.1), (0.06, 0.5), (-0.06, 0.5), (-0.32, -0.1), (-0.32, -0.9), role="accent"
    )
    ropes = [stroke([(s * 0.18, 0.4), (s * 0.18, 0.75)], 0.05) for s in (-1, 1)]
    return [*ropes, envelope, gore, box(-0.26, 0.68, 0.26, 1.05, role="dark")]


def snowman(rng: Rng) -> list[WorldShape]:
    """Two balls, a hat and a carrot nose."""
    low = rng.uniform(0.54, 0.6)
    arms = [stroke([(s * 0.4, 0.3), (s * 1.0, -0.1)], 0.08) for s in (-1, 1)]
    buttons = [ellipse(0, y, 0.07, role="dark") for y in (0.3, 0.6)]
    face = [ellipse(s * 0.13, -0.38, 0.06, role="dark") for s in (-1, 1)]
    hat = [box(-0.5, -0.7, 0.5, -0.6, role="dark"), box(-0.3, -1.1, 0.3, -0.65, role="dark")]
    nose = polygon((0, -0.3), (0.5, -0.2), (0, -0.16), role="accent")
    return [*arms, ellipse(0, 0.5, low, 0.52), ellipse(0, -0.3, 0.4, 0.38), *buttons, *face, nose, *hat]


def lighthouse(rng: Rng) -> list[WorldShape]:
    """Striped tower with a lamp room."""
    top = rng.uniform(-0.62, -0.52)

    def half_width(y: float) -> float:
        return 0.26 + 0.2 * (y - top) / (1 - top)

    def band(y0: float, y1: float, role: str) -> WorldShape:
        corners = ((-half_width(y0), y0), (half_width(y0), y0), (half_width(y1), y1), (-half_width(y1), y1))
        return polygon(*corners, role="main" if role == "main" else "light")

    edges = np.linspace(top, 1.0, 6)
    stripes = [band(edges[i], edges[i + 1], "main" if i % 2 == 0 else "light") for i in range(5)]
    lamp = [box(-0.2, top - 0.28, 0.2, top, role="accent"), box(-0.4, top - 0.05, 0.4, top + 0.04, role="dark")]
    return [*stripes, *lamp, polygon((-0.3, top - 0.26), (0, top - 0.52), (0.3, top - 0.26), role="dark")]
