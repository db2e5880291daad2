"""Objects of nature; each function draws one, with small variations from the generator."""

import numpy as np

from workers.training.starter.world.shapes import WorldShape, box, ellipse, polygon, rotated, smooth, stroke

Rng = np.random.Generator


def tree(rng: Rng) -> list[WorldShape]:
    """Trunk under a crown of three round masses."""
    w = rng.uniform(0.85, 1.0)
    crown = [
        ellipse(-0.42 * w, -0.22, 0.5 * w, 0.44),
        ellipse(0.42 * w, -0.22, 0.5 * w, 0.44),
        ellipse(0, -0.52, 0.56 * w, 0.46),
    ]
    return [polygon((-0.15, 0.0), (0.15, 0.0), (0.22, 1.0), (-0.22, 1.0), role="dark"), *crown]


def flower(rng: Rng) -> list[WorldShape]:
    """Petals round a heart, on a stem with two leaves."""
    count = int(rng.integers(5, 8))
    turn = rng.uniform(0, 360 / count)
    petals = [rotated(ellipse(0, -0.78, 0.2, 0.3), turn + 360 * i / count, 0, -0.38) for i in range(count)]
    leaves = [
        smooth((0, 0.85), (-0.2, 0.4), (-0.7, 0.3), (-0.5, 0.75), role="dark"),
        smooth((0, 0.85), (0.2, 0.4), (0.7, 0.3), (0.5, 0.75), role="dark"),
    ]
    return [box(-0.06, -0.3, 0.06, 1.0, role="dark"), *leaves, *petals, ellipse(0, -0.38, 0.22, role="accent")]


def mountain(rng: Rng) -> list[WorldShape]:
    """Two peaks with snow."""
    peak = rng.uniform(-0.35, -0.2)
    snow = polygon(
        (peak, -0.95), (peak + 0.26, -0.4), (peak + 0.08, -0.52), (peak - 0.06, -0.36), (peak - 0.22, -0.45),
        role="light",
    )  # fmt: skip
    return [
        polygon((-0.15, 1.0), (0.5, -0.35), (1.1, 1.0), role="dark"),
        polygon((-1.1, 1.0), (peak, -0.95), (0.6, 1.0)),
        snow,
    ]


def cat(rng: Rng) -> list[WorldShape]:
    """A cat's head: pointed ears, eyes, nose and whiskers."""
    tall = rng.uniform(0.92, 1.0)
    head = ellipse(0, 0.2, 0.82, 0.72)
    ears = [polygon((s * 0.8, 0.15), (s * 0.78, -tall), (s * 0.12, -0.42)) for s in (-1, 1)]
    inner = [polygon((s * 0.66, -0.15), (s * 0.66, -tall + 0.3), (s * 0.32, -0.36), role="accent") for s in (-1, 1)]
    eyes = [ellipse(s * 0.34, 0.1, 0.13, 0.17, role="light") for s in (-1, 1)]
    pupils = [ellipse(s * 0.34, 0.11, 0.06, 0.15, role="dark") for s in (-1, 1)]
    nose = polygon((-0.13, 0.4), (0.13, 0.4), (0, 0.56), role="dark")
    whiskers = [stroke([(s * 0.3, 0.52), (s * 1.05, y)], 0.05) for s in (-1, 1) for y in (0.42, 0.66)]
    return [*ears, head, *inner, *eyes, *pupils, nose, *whiskers]


def fish(rng: Rng) -> list[WorldShape]:
    """Side view, tail to the right."""
    fat = rng.uniform(0.5, 0.6)
    return [
        polygon((0.4, 0.0), (1.05, -0.58), (0.9, 0.0), (1.05, 0.58), role="accent"),
        smooth((-0.3, -fat + 0.05), (0.0, -0.95), (0.4, -0.75), (0.3, -0.2), role="accent"),
        ellipse(-0.22, 0.0, 0.8, fat),
        polygon((-0.05, 0.05), (0.3, 0.28), (0.0, 0.34), role="dark"),
        ellipse(-0.62, -0.12, 0.13, role="light"),
        ellipse(-0.64, -0.12, 0.07, role="dark"),
    ]


def star(rng: Rng) -> list[WorldShape]:
    """Five points."""
    turn, inner = rng.uniform(-8, 8), rng.uniform(0.4, 0.48)
    angles = np.radians(np.arange(10) * 36 - 90 + turn)
    radii = np.where(np.arange(10) % 2 == 0, 1.05, 1.05 * inner)
    return [WorldShape(np.stack([radii * np.cos(angles), 0.05 + radii * np.sin(angles)], axis=1))]


def mushroom(rng: Rng) -> list[WorldShape]:
    """Broad spotted cap on a short stem."""
    cap = rng.uniform(0.95, 1.05)
    spots = [
        ellipse(x, y, r, r * 0.9, role="light")
        for x, y, r in ((-0.45, -0.3, 0.15), (0.08, -0.5, 0.18), (0.52, -0.22, 0.13))
    ]
    return [
        smooth((-0.3, -0.1), (0.3, -0.1), (0.42, 1.1), (-0.42, 1.1), role="light"),
        ellipse(0, 0.08, cap, 0.98, start=180, stop=360),
        *spots,
    ]


def moon(rng: Rng) -> list[WorldShape]:
    """A crescent."""
    tilt, depth = rng.uniform(-15, 15), rng.uniform(0.45, 0.55)
    outer = np.radians(np.linspace(70, 290, 40))
    back = np.radians(np.linspace(290, 70, 40))
    far = np.stack([np.cos(outer), np.sin(outer)], axis=1)
    near = np.stack([np.cos(back) * depth + 0.34 * (1 - depth), np.sin(back)], axis=1)
    return [rotated(WorldShape(np.concatenate([far, near]) + np.array([0.3, 0.0])), tilt)]


def apple(rng: Rng) -> list[WorldShape]:
    """Two lobes, a stalk and a leaf."""
    lean = rng.uniform(-0.08, 0.08)
    body = smooth(
        (0, -0.45), (0.5, -0.72), (1.0, -0.4), (0.98, 0.35), (0.5, 1.05), (0.0, 0.86),
        (-0.5, 1.05), (-0.98, 0.35), (-1.0, -0.4), (-0.5, -0.72),
    )  # fmt: skip
    leaf = smooth((0.05, -0.62), (0.2, -1.0), (0.75, -1.05), (0.5, -0.68), role="accent")
    return [body, stroke([(0, -0.42), (lean, -0.7), (lean * 2, -1.0)], 0.12), leaf]


def butterfly(rng: Rng) -> list[WorldShape]:
    """Four wings open."""
    w = rng.uniform(0.9, 1.05)
    upper = [
        smooth((s * 0.05, -0.1), (s * 0.35 * w, -1.0), (s * 1.2 * w, -1.05), (s * 0.95 * w, 0.15)) for s in (-1, 1)
    ]
    lower = [
        smooth((s * 0.05, 0.0), (s * 0.9 * w, 0.0), (s * 0.95 * w, 0.9), (s * 0.3, 1.0), role="accent") for s in (-1, 1)
    ]
    spots = [ellipse(s * 0.6 * w, -0.5, 0.15, role="light") for s in (-1, 1)]
    feelers = [stroke([(0, -0.5), (s * 0.12, -0.8), (s * 0.28, -1.0)], 0.06) for s in (-1, 1)]
    return [*upper, *lower, *spots, *feelers, ellipse(0, 0.05, 0.11, 0.68, role="dark")]


def cactus(rng: Rng) -> list[WorldShape]:
    """A column with two arms."""
    left, right = rng.uniform(-0.1, 0.1, 2)
    column = smooth((-0.26, 1.2), (-0.26, -1.1), (0.26, -1.1), (0.26, 1.2), rounds=4)
    arms = [
        stroke([(0, 0.45 + left), (-0.5, 0.43 + left), (-0.66, 0.28 + left), (-0.66, -0.35 + left)], 0.3, role="main"),
        stroke([(0, 0.2 + right), (0.5, 0.18 + right), (0.66, 0.03 + right), (0.66, -0.6 + right)], 0.3, role="main"),
    ]
    ribs = [box(x - 0.025, -0.6, x + 0.025, 0.9, role="dark") for x in (-0.1, 0.1)]
    return [*arms, column, *ribs, ellipse(0, -0.85, 0.16, role="accent")]


def bird(rng: Rng) -> list[WorldShape]:
    """Standing bird in side view, beak to the left."""
    lift = rng.uniform(-0.08, 0.08)
    return [
        polygon((0.3, 0.0), (1.1, -0.45 + lift), (0.95, 0.1), (0.5, 0.4), role="accent"),
        stroke([(-0.05, 0.5), (-0.1, 1.0)], 0.09),
        stroke([(0.2, 0.5), (0.18, 1.0)], 0.09),
        ellipse(0.08, 0.2, 0.62, 0.48),
        ellipse(-0.45, -0.42, 0.38),
        polygon((-0.75, -0.55), (-1.15, -0.36), (-0.75, -0.28), role="accent"),
        smooth((-0.2, 0.0), (0.6, -0.1 + lift), (0.75, 0.3), (0.1, 0.5), role="dark"),
        ellipse(-0.53, -0.5, 0.08, role="light"),
    ]
