"""The objects by name."""

from collections.abc import Callable
from types import MappingProxyType

import numpy as np

from workers.training.starter.world import objects_made as made
from workers.training.starter.world import objects_nature as nature
from workers.training.starter.world.shapes import WorldShape

DrawObject = Callable[[np.random.Generator], list[WorldShape]]

_DRAWN: tuple[DrawObject, ...] = (
    made.house, nature.tree, made.boat, nature.star, made.heart, nature.mushroom,
    made.umbrella, nature.cat, nature.fish, made.cup, nature.moon, made.rocket,
    made.car, nature.flower, nature.mountain, nature.apple, made.key, nature.butterfly,
    made.castle, nature.cactus, made.balloon, made.snowman, made.lighthouse, nature.bird,
)  # fmt: skip

OBJECTS = MappingProxyType({draw.__name__: draw for draw in _DRAWN})
