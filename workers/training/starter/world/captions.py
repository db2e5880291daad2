"""Captions: the words for a scene and a style, each kind of word droppable on its own."""

from dataclasses import dataclass

import numpy as np

from workers.training.starter.world.objects import OBJECTS
from workers.training.starter.world.palette import COLOUR_WORDS
from workers.training.starter.world.registry import STYLES

PLACE_WORDS = ("small", "large", "left", "right")
FILLING_WORDS = (
    "a",
    "an",
    "the",
    "of",
    "in",
    "on",
    "with",
    "and",
    "style",
    "picture",
    "drawing",
    "painting",
    "photo",
    ",",
    ".",
)

WORD_KINDS: dict[str, tuple[str, ...]] = {
    "object": tuple(OBJECTS),
    "style": tuple(STYLES),
    "colour": tuple(COLOUR_WORDS),
    "place": PLACE_WORDS,
}
"""The words that carry meaning, by kind; at most 32 of a kind (one attention head of the text encoder each)."""


@dataclass(frozen=True)
class CaptionDropout:
    """Probabilities of leaving out the whole caption, the style words, the object word, the place words."""

    empty: float = 0.1
    style: float = 0.25
    object: float = 0.03
    place: float = 0.5


def caption(object_name: str, style: str = "", colour: str = "", place: str = "", size: str = "") -> str:
    """`a small red house left, watercolour style`, as far as words are given."""
    words = " ".join(word for word in ("a", size, colour, object_name, place) if word)
    return f"{words}, {style} style" if style else words


def dropped_caption(
    rng: np.random.Generator, rates: CaptionDropout, object_name: str, style: str, colour: str, place: str, size: str
) -> str:
    """The caption after each kind of word had its chance of being left out."""
    if rng.uniform() < rates.empty:
        return ""
    if rng.uniform() < rates.place:
        place = size = ""
    kept_object = "" if rng.uniform() < rates.object else object_name
    kept_style = "" if rng.uniform() < rates.style else style
    return caption(kept_object, kept_style, colour, place, size)
