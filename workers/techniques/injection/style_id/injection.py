"""Generation: the remembered queries, keys and values in the self-attention of the picture being made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workers.engine.denoise import Trajectory
from workers.techniques.injection.style_id import math
from workers.techniques.injection.style_id.attention import AttentionHooks
from workers.techniques.injection.style_id.layers import Layer


@dataclass(frozen=True)
class Injection:
    """What is injected into one request; None in its trajectory's `extra` means nothing.

    style, content: the features of inversion.py, on any device. at: timestep -> their index. share: how much of the
    output is injected, above 0 up to 1.
    """

    style: Mapping[str, Tensor]
    content: Mapping[str, Tensor]
    layers: tuple[Layer, ...]
    at: Mapping[int, int]
    gamma: float
    temperature: float
    share: float


class Injector(AttentionHooks):
    """Injects each request's own features into its own rows."""

    def attend(self, layer: str, attn: Any, x: Tensor) -> Tensor:
        """Return the rows of every trajectory: injected as its request says, or as they are."""
        Q = attn.to_q(x)
        results = [self._rows(layer, attn, x[rows], Q[rows], owner) for owner, rows in self.trajectories()]
        return results[0] if len(results) == 1 else torch.cat(results)

    def _rows(self, layer: str, attn: Any, x: Tensor, Q: Tensor, owner: Trajectory) -> Tensor:
        injection: Injection | None = owner.extra
        share = injection.share if injection and f"{layer}.k" in injection.style else 0.0
        if injection is None or share == 0:
            return math.attention(Q, attn.to_k(x), attn.to_v(x), heads=attn.heads, scale=attn.scale)
        now = injection.at[int(owner.timestep)]
        Q_c, K_s, V_s = (
            spread(features[f"{layer}.{part}"][now], owner).to(Q, non_blocking=True)
            for features, part in ((injection.content, "q"), (injection.style, "k"), (injection.style, "v"))
        )
        mixed = math.preserved_query(Q_c, Q, injection.gamma)
        injected = math.attention(mixed, K_s, V_s, heads=attn.heads, scale=injection.temperature * attn.scale)
        if share == 1:
            return injected
        plain = math.attention(Q, attn.to_k(x), attn.to_v(x), heads=attn.heads, scale=attn.scale)
        return plain + share * (injected - plain)


def spread(feature: Tensor, owner: Trajectory) -> Tensor:
    """Return a remembered feature (halves, tokens, width) for every row of a trajectory.

    An unguided inversion serves both halves; of a guided one an unguided trajectory takes the conditional half.
    """
    halves, pictures = len(owner.halves), owner.positive.rows
    if len(feature) != halves:
        feature = feature[-1:].expand(halves, -1, -1)
    return feature if pictures == 1 else feature.repeat_interleave(pictures, 0)
