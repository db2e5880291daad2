"""Palettes: six colours in harmony, continuous in hue, saturation and lightness."""

import colorsys
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Colour = NDArray[np.float32]

COLOUR_WORDS = {
    "red": 0.0, "orange": 0.075, "yellow": 0.15, "green": 0.36,
    "teal": 0.49, "blue": 0.62, "purple": 0.77, "pink": 0.91,
}  # fmt: skip


@dataclass(frozen=True)
class Palette:
    """Colours as float32 RGB triples in [0, 1]."""

    sky: Colour
    ground: Colour
    main: Colour
    accent: Colour
    dark: Colour
    light: Colour

    def with_main(self, word: str) -> "Palette":
        """The same palette with the object in the named colour, at the main colour's own lightness."""
        lightness = float(np.clip(self.main.mean(), 0.4, 0.55))
        return replace(self, main=hls(COLOUR_WORDS[word], lightness, 0.75))


def hls(hue: float, lightness: float, saturation: float) -> Colour:
    """RGB of a hue in turns (any real number), lightness and saturation in [0, 1]."""
    return np.array(colorsys.hls_to_rgb(hue % 1.0, lightness, saturation), dtype=np.float32)


def random_palette(rng: np.random.Generator) -> Palette:
    """A light scene with a darker, saturated object, its hue well away from the sky's."""
    sky_hue = rng.uniform()
    main_hue = sky_hue + rng.uniform(0.3, 0.7)
    accent_hue = main_hue + rng.choice([-1, 1]) * rng.uniform(0.12, 0.3)
    ground_hue = sky_hue + rng.uniform(-0.2, 0.2)
    vivid = rng.uniform(0.55, 0.9)
    return Palette(
        sky=hls(sky_hue, rng.uniform(0.78, 0.88), vivid * 0.8),
        ground=hls(ground_hue, rng.uniform(0.58, 0.68), vivid * 0.6),
        main=hls(main_hue, rng.uniform(0.36, 0.48), vivid),
        accent=hls(accent_hue, rng.uniform(0.44, 0.56), vivid),
        dark=hls(main_hue + rng.uniform(-0.1, 0.1), rng.uniform(0.16, 0.24), vivid * 0.6),
        light=hls(accent_hue, rng.uniform(0.86, 0.94), vivid * 0.7),
    )
