"""What the denoiser is told besides the latents: text, and whatever the base model reads beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """One half (conditional or unconditional) of a request: one row per picture.

    text: (n, tokens, width). added: what the base model reads beside the text, by its own names, one row per picture
    each: SDXL's pooled text and time ids.
    """

    text: Tensor
    added: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """The number of pictures."""
        return self.text.shape[0]

    def select(self, rows: slice | Tensor) -> Self:
        """Return some of the rows: a slice or indices."""
        return type(self)(self.text[rows], {name: tensor[rows] for name, tensor in self.added.items()})


def stack(conditions: Sequence[Condition]) -> Condition:
    """Return all rows of several conditions as one; they must have the same parts."""
    first = conditions[0]
    if len(conditions) == 1:
        return first
    assert all(c.added.keys() == first.added.keys() for c in conditions), (
        "conditions of different base models in a call"
    )
    added = {name: torch.cat([c.added[name] for c in conditions]) for name in first.added}
    return Condition(torch.cat([c.text for c in conditions]), added)
