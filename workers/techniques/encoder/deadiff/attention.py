"""Joint cross-attention with kept keys and values, laid out per row of the UNet call.

The unconditional half and the layers of the side that is not asked for are shown zero tokens, which have zero keys and
values and still take their share of the softmax.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from workers.engine.backbones import patches
from workers.engine.backbones.base import Backbone
from workers.engine.denoise import DenoiserCall, Hooks, Rows, Trajectory
from workers.techniques.encoder.deadiff import checkpoint, math
from workers.techniques.encoder.deadiff.own_weights import OwnWeights
from workers.techniques.encoder.deadiff.style import KeysValues


@dataclass(frozen=True, eq=False)
class ShownImage:
    """What a request's attentions are shown beside the text.

    keys_values: weighted, of some layers, (2, tokens, C); the others are shown zero tokens. share: s, above 0.
    """

    keys_values: KeysValues
    tokens: int
    share: float
    own_weights: OwnWeights


@dataclass
class Kept:
    """The image side of the current call's rows: by layer (2, rows, tokens, C), and s (rows,) unless all are 1."""

    layers: dict[str, Tensor] = field(default_factory=dict)
    s: Tensor | None = None


class JointAttention:
    """Cross-attention over text and kept image tokens in one softmax."""

    def __init__(self, layer: str, kept: Kept) -> None:
        self._layer = layer
        self._kept = kept

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Attend from hidden_states (rows, cells, C) to text (rows, tokens, width) and to the kept picture."""
        k_i, v_i = self._kept.layers[self._layer]
        q, k, v = attn.to_q(hidden_states), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        attended = math.joint_attention(q, k, v, k_i, v_i, attn.heads, self._kept.s)
        result: Tensor = attn.to_out[1](attn.to_out[0](attended))
        return result


class ShownRows(Hooks):
    """Lays out what each row of a call is shown; anew only when the rows change."""

    def __init__(self, unet: Any, layers: Sequence[str], kept: Kept) -> None:
        self._widths = {
            layer: unet.get_submodule(layer.removesuffix(".processor")).to_k.out_features for layer in layers
        }
        self._kept = kept
        self._owners: tuple[Rows, ...] = ()

    def before_predict(self, call: DenoiserCall) -> None:
        """Give every processor the keys and values of this call's rows."""
        if call.rows == self._owners:
            return
        self._owners = call.rows
        for layer, width in self._widths.items():
            parts = [_of(rows, layer, width, call.sample) for rows in call.rows]
            self._kept.layers[layer] = torch.cat(parts, dim=1)
        shares = [rows.trajectory.extra.share for rows in call.rows for _ in range(rows.start, rows.stop)]
        self._kept.s = None if set(shares) == {1.0} else torch.tensor(shares, device=call.sample.device)


def _of(rows: Rows, layer: str, width: int, like: Tensor) -> Tensor:
    """Return the keys and values (2, rows, tokens, C) of some rows of one trajectory in a layer."""
    shown: ShownImage = rows.trajectory.extra
    both = shown.keys_values.get(layer) if rows.conditional else None
    if both is None:
        both = like.new_zeros(2, shown.tokens, width)
    return both[:, None].expand(-1, rows.stop - rows.start, -1, -1)


@contextmanager
def joint_attention(backbone: Backbone, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
    """Let trajectories see what they are shown (`trajectory.extra`), with the weights that all of them want."""
    if trajectories[0].extra is None:
        yield Hooks()
        return
    kept, layers = Kept(), checkpoint.layers(backbone.denoiser)
    processors = {layer: JointAttention(layer, kept) for layer in layers}
    own: OwnWeights = trajectories[0].extra.own_weights
    with own.in_unet(backbone), patches.attention_processors(backbone.denoiser, processors):
        yield ShownRows(backbone.denoiser, layers, kept)
