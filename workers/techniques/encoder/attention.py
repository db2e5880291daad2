"""Decoupled cross-attention with kept keys and values: diffusers' processor, fed per row of the UNet call.

out = to_out( SDPA(Q, K_text, V_text) + sum over streams SDPA(Q, K_image, s V_image) )

The scale s is folded into the values, so that rows of different requests, scales and layers can share a call; a row
whose s is 0 in a layer adds exactly nothing there. Layers in which every row's s is 0 keep their own processor.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from torch import Tensor, nn

from workers.engine.backbones import patches
from workers.engine.backbones.base import Backbone
from workers.engine.denoise import DenoiserCall, Hooks, Rows, Trajectory
from workers.techniques.encoder.adapter import KeysValues


@dataclass(frozen=True)
class ImageStream:
    """What one adapter adds to one request.

    conditional, unconditional: keys and values by layer for the two halves, the same number of tokens in both; only
    the layers in which a stream of the batch is active are read. scales: s of the layers in which this one is.
    """

    conditional: KeysValues
    unconditional: KeysValues
    scales: Mapping[str, float]


Streams = tuple[ImageStream, ...]
StreamsOf = Callable[[Trajectory], Streams]
Kept = dict[str, list[Tensor]]
"""By layer, per stream active there: keys and values of the rows of a call, (2, rows, tokens, width)."""


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
    """Lays out the kept keys and values for the rows of each call; anew only when the rows change.

    `active` says which of each trajectory's streams a layer reads.
    """

    def __init__(self, kept: Kept, active: Mapping[str, Sequence[int]], streams: StreamsOf) -> None:
        self._kept = kept
        self._active = active
        self._streams = streams
        self._owners: tuple[Rows, ...] = ()

    def before_predict(self, call: DenoiserCall) -> None:
        """Give every processor the keys and values of this call's rows."""
        if call.rows == self._owners:
            return
        self._owners = call.rows
        for layer, active in self._active.items():
            self._kept[layer] = [torch.cat([self._of(rows, layer, i) for rows in call.rows], dim=1) for i in active]

    def _of(self, rows: Rows, layer: str, i: int) -> Tensor:
        """Return the keys and the scaled values of some rows of one trajectory's stream i, (2, rows, tokens, width)."""
        stream = self._streams(rows.trajectory)[i]
        key, value = (stream.conditional if rows.conditional else stream.unconditional)[layer]
        scaled = torch.stack([key, value * stream.scales.get(layer, 0.0)])
        return scaled[:, None].expand(-1, rows.stop - rows.start, -1, -1)


@contextmanager
def streamed(net: Any, trajectories: Sequence[Trajectory], streams: StreamsOf) -> Iterator[ImageRows]:
    """Let the trajectories' rows see their streams in a UNet or ControlNet; change nothing without any.

    All must have equally many streams with equally many tokens; batch keys see to that.
    """
    active: dict[str, list[int]] = {}
    for trajectory in trajectories:
        for i, stream in enumerate(streams(trajectory)):
            for layer in (layer for layer, s in stream.scales.items() if s):
                if i not in active.setdefault(layer, []):
                    active[layer].append(i)
    kept: Kept = {}
    processors = {layer: KeptImageAttention(kept, layer, len(seen)) for layer, seen in active.items()}
    with patches.attention_processors(net, processors):
        yield ImageRows(kept, active, streams)


@contextmanager
def image_attention(backbone: Backbone, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
    """Let trajectories see their streams (`trajectory.extra`) in the UNet while they are denoised."""
    with streamed(backbone.denoiser, trajectories, lambda trajectory: trajectory.extra) as hooks:
        yield hooks
