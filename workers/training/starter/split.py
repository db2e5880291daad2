"""Which pictures training never sees: some object-style pairs, and every style instance above a seed."""

from workers.training.starter.world.objects import OBJECTS
from workers.training.starter.world.registry import STYLES

HELD_OUT_INSTANCES = 1_000_000
"""Style seeds from here on are for judging only."""


def is_held_out(object_name: str, style: str) -> bool:
    """One object in six of every style but `flat`, along shifted diagonals of the object-style table."""
    if style == "flat":
        return False
    row = list(STYLES).index(style)
    return (list(OBJECTS).index(object_name) + row + row // 6) % 6 == 0


def pairs(objects: tuple[str, ...], styles: tuple[str, ...], *, held_out: bool) -> list[tuple[str, str]]:
    """The (object, style) pairs of either side of the split, style by style."""
    return [(name, style) for style in styles for name in objects if is_held_out(name, style) is held_out]
