"""Decoupled cross-attention with kept keys and values: diffusers' processor, fed per row of the UNet call.

out = to_out( SDPA(Q, K_text, V_text) + sum over streams SDPA(Q, K_image, s V_image) )

The scale s is folded into the values, so that rows of different requests, scales and layers can share a call; a row
whose s is 0 in a layer adds exactly nothing there. Layers in which every row's s is 0 keep their own processor.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from torch import Tensor, nn

from workers.pipelines import patches
from workers.pipelines.backbone import Backbone
from workers.pipelines.denoise import Hooks, Rows, Trajectory, UNetCall
from workers.techniques.encoder.adapter import KeysValues


@dataclass(frozen=True)
class Stream:
    """What one adapter adds to one request.

    conditional, unconditional: keys and values of every layer for the two halves, the same number of tokens in both.
    scales: s of the layers in which the adapter is active.
    """

    conditional: KeysValues
    unconditional: KeysValues
    scales: Mapping[str, float]


Streams = tuple[Stream, ...]
Kept = dict[str, list[Tensor]]
"""By layer, per stream: keys and values of the rows of a call, (2, rows, tokens, width)."""


class KeptImageAttention(IPAdapterAttnProcessor2_0):
    """diffusers' decoupled cross-attention, whose image keys and values are read from `kept` as the call finds them."""

    to_k_ip: Any
    to_v_ip: Any

    def __init__(self, kept: Kept, layer: str, streams: int) -> None:
        nn.Module.__init__(self)
        self.num_tokens = [0] * streams
        self.scale = [1.0] * streams
        self.to_k_ip = [lambda _, i=i: kept[layer][i][0] for i in range(streams)]
        self.to_v_ip = [lambda _, i=i: kept[layer][i][1] for i in range(streams)]

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Any = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        scale: float = 1.0,
        ip_adapter_masks: Tensor | None = None,
    ) -> Tensor:
        """Attend from hidden_states (rows, cells, width) to text (rows, tokens, C) and to the kept pictures."""
        text_and_images: Any = (encoder_hidden_states, [None] * len(self.scale))
        return super().__call__(attn, hidden_states, text_and_images, attention_mask, temb, scale, ip_adapter_masks)


class ImageRows(Hooks):
    """Lays out the kept keys and values for the rows of each call; anew only when the rows change."""

    def __init__(self, kept: Kept, layers: Sequence[str]) -> None:
        self._kept = kept
        self._layers = layers
        self._owners: tuple[Rows, ...] = ()

    def before_unet(self, call: UNetCall) -> None:
        """Give every processor the keys and values of this call's rows."""
        if call.rows == self._owners:
            return
        self._owners = call.rows
        for layer in self._layers:
            per_row = [_of(rows, layer) for rows in call.rows]
            self._kept[layer] = [torch.cat(parts, dim=1) for parts in zip(*per_row, strict=True)]


def _of(rows: Rows, layer: str) -> list[Tensor]:
    """Return per stream the keys and the scaled values of some rows of one trajectory, (2, rows, tokens, width)."""
    streams: Streams = rows.trajectory.extra
    found = []
    for stream in streams:
        key, value = (stream.conditional if rows.conditional else stream.unconditional)[layer]
        scaled = torch.stack([key, value * stream.scales.get(layer, 0.0)])
        found.append(scaled[:, None].expand(-1, rows.stop - rows.start, -1, -1))
    return found


@contextmanager
def image_attention(backbone: Backbone, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
    """Let trajectories see their streams (`trajectory.extra`) while they are denoised; change nothing without any.

    All must have equally many streams with equally many tokens; batch keys see to that.
    """
    streams: list[Stream] = [stream for trajectory in trajectories for stream in trajectory.extra]
    active = list(dict.fromkeys(layer for stream in streams for layer, s in stream.scales.items() if s))
    kept: Kept = {}
    count = len(trajectories[0].extra)
    processors = {layer: KeptImageAttention(kept, layer, count) for layer in active}
    with patches.attention_processors(backbone.unet, processors):
        yield ImageRows(kept, active)
