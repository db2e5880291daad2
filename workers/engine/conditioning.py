"""What the UNet is told besides the latents: text, and whatever a base model or technique adds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """One half (conditional or unconditional) of a request: one row per picture.

    text: (n, tokens, width). SDXL also: pooled (n, width), time_ids (n, 6).
    image_embeds: one tensor per installed image adapter, (n, images, width) or (n, images, tokens, width).
    """

    text: Tensor
    pooled: Tensor | None = None
    time_ids: Tensor | None = None
    image_embeds: tuple[Tensor, ...] = ()

    @property
    def rows(self) -> int:
        """The number of pictures."""
        return self.text.shape[0]

    def with_images(self, *image_embeds: Tensor) -> Self:
        """Return a copy with image features, each (n, ...) or (1, ...), which is repeated for every picture."""
        spread = tuple(e.expand(self.rows, *e.shape[1:]) for e in image_embeds)
        return replace(self, image_embeds=spread)

    def select(self, rows: slice | Tensor) -> Self:
        """Return some of the rows: a slice or indices."""
        return replace(
            self,
            text=self.text[rows],
            pooled=None if self.pooled is None else self.pooled[rows],
            time_ids=None if self.time_ids is None else self.time_ids[rows],
            image_embeds=tuple(e[rows] for e in self.image_embeds),
        )

    def unet_inputs(self) -> dict[str, Any]:
        """Return these as the UNet's keyword arguments."""
        added: dict[str, Any] = {}
        if self.pooled is not None:
            added |= {"text_embeds": self.pooled, "time_ids": self.time_ids}
        if self.image_embeds:
            added |= {"image_embeds": list(self.image_embeds)}
        return {"encoder_hidden_states": self.text, "added_cond_kwargs": added or None}


def stack(conditions: Sequence[Condition]) -> Condition:
    """Return all rows of several conditions as one; they must have the same parts."""
    first = conditions[0]
    if len(conditions) == 1:
        return first
    return Condition(
        text=torch.cat([c.text for c in conditions]),
        pooled=None if first.pooled is None else torch.cat([_present(c.pooled) for c in conditions]),
        time_ids=None if first.time_ids is None else torch.cat([_present(c.time_ids) for c in conditions]),
        image_embeds=tuple(torch.cat(parts) for parts in zip(*(c.image_embeds for c in conditions), strict=True)),
    )


def _present(part: Tensor | None) -> Tensor:
    assert part is not None, "conditions of different base models in one batch"
    return part
