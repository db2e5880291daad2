"""CSGO (arXiv 2408.16766): who sees what, and how strongly."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from workers.techniques.encoder.csgo.spec import Task

DELTA_C: Mapping[Task, float] = MappingProxyType({"image_driven": 0.6, "text_driven": 0.01, "text_edit_driven": 0.4})
STYLE_IN_UNET = "up_blocks."
CONTENT_IN_UNET = "down_blocks."
STYLE_IN_CONTROLNET = "down_blocks."

Maps = Mapping[str, tuple[Tensor, Tensor]]
"""By layer name: to_k_ip and to_v_ip, (width of the layer, width of the tokens)."""


@dataclass(frozen=True)
class Scales:
    """delta_c: of the ControlNet's residuals; lambda_c, lambda_s: of content and style attention."""

    delta_c: float
    lambda_c: float
    lambda_s: float


def scales(
    task: Task, strength: float, *, delta_c: float | None, lambda_c: float, lambda_s: float, content_in_unet: bool
) -> Scales:
    """Return the scales of a request: strength multiplies the style's, and in text_driven everything."""
    held = DELTA_C[task] if delta_c is None else delta_c
    seen = lambda_c if content_in_unet else 0.0
    if task == "text_driven":
        held, seen = strength * held, strength * seen
    return Scales(held, seen, strength * lambda_s)


def cross_attentions(names: Iterable[str], block: str) -> dict[str, int]:
    """Return the cross-attentions of blocks by name, with their positions among all attentions, self included."""
    return {
        name: position
        for position, name in enumerate(names)
        if name.startswith(block) and name.endswith("attn2.processor")
    }


def keys_values(maps: Maps, tokens: Tensor) -> dict[str, Tensor]:
    """Return every layer's keys and values (2, tokens, width) of tokens (tokens, C)."""
    return {name: torch.stack([linear(tokens, to_k), linear(tokens, to_v)]) for name, (to_k, to_v) in maps.items()}


def nothing(vision: Any) -> Tensor:
    """Return the negative features (1, L, H): zeros shaped like the encoder's hidden states, not a black image's."""
    return torch.zeros(1, (vision.image_size // vision.patch_size) ** 2 + 1, vision.hidden_size)
