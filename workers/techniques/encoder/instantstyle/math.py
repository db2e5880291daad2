"""InstantStyle (arXiv 2404.02733): which attentions see the image, and what the image must not say."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from model_store.catalogue.entry import Base

Mode = Literal["style", "style+layout", "all"]

STYLE: Mapping[Base, tuple[str, ...]] = {"sd15": ("up_blocks.1",), "sdxl": ("up_blocks.0.attentions.1",)}
LAYOUT: Mapping[Base, tuple[str, ...]] = {
    "sd15": ("down_blocks.2", "mid_block"),
    "sdxl": ("down_blocks.2.attentions.1",),
}
ALL = ("block",)


def target_blocks(mode: Mode, base: Base) -> tuple[str, ...]:
    """Return the name parts of the attentions that see the image (section 3.2 and the authors' code)."""
    return {"style": STYLE[base], "style+layout": STYLE[base] + LAYOUT[base], "all": ALL}[mode]


def subtracted(e: Tensor, t: Tensor, s: float) -> Tensor:
    """Return e' = e - s t for image embeddings e (n, D) and one text embedding t (1, D), neither normalised."""
    return e - s * t
