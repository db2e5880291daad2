"""FLUX' joint attention with less of it for the tokens of a reference, in a form that keeps the fused kernels.

log s is added to the logits where the key is a token of a reference and the query is not of the same one. The logits
are q k scale, so a further channel per reference with q' = 1 (0 for its own queries), k' = log s / scale on its keys
and v' = 0 adds just that: a mask of tokens x tokens would cost the fused kernels and much memory.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor
from torch.nn.functional import pad

from workers.engine.backbones import patches
from workers.engine.backbones.base import Backbone
from workers.engine.denoise import DenoiserCall, Hooks, Trajectory

NOTHING = -1e9
"""The logit's change that takes all attention away."""
MULTIPLE = 8
"""Fused kernels want heads of a multiple of this width."""


@dataclass(frozen=True)
class ReferenceTokens:
    """Where the references of a request stand in its text, and how much they are attended to, 0..1 each."""

    spans: tuple[slice, ...] = ()
    strengths: tuple[float, ...] = ()


@dataclass
class Channels:
    """The further channels of the present call, (rows, text tokens, references) each; None without any."""

    query: Tensor | None = None
    key: Tensor | None = None


class ReduxHooks(Hooks):
    """Lays out the channels of each call for the processors."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    def before_predict(self, call: DenoiserCall) -> None:
        """Write down, for each row, which text tokens are of which reference and how strong it is."""
        rows, tokens, _ = call.condition.text.shape
        most = max(len(part.trajectory.extra.spans) for part in call.rows)
        query, key = torch.ones(rows, tokens, most), torch.zeros(rows, tokens, most)
        for part in call.rows:
            extra, own = part.trajectory.extra, slice(part.start, part.stop)
            for n, (span, strength) in enumerate(zip(extra.spans, extra.strengths, strict=True)):
                s = strength if part.conditional else 0.0
                query[own, span, n] = 0.0
                key[own, span, n] = math.log(s) if s > 0 else NOTHING
        device = call.sample.device
        self._channels.query, self._channels.key = query.to(device), key.to(device)


@contextmanager
def weakened(backbone: Backbone, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
    """Let every layer attend to references as much as they say; nothing is changed where all count in full."""
    seen = [one for one in trajectories if one.extra.spans]
    if all(one.negative is None and set(one.extra.strengths) == {1.0} for one in seen):
        yield Hooks()
        return
    channels = Channels()
    processor = ReduxProcessor(channels)
    with patches.attention_processors(backbone.denoiser, dict.fromkeys(backbone.attention_layers, processor)):
        yield ReduxHooks(channels)


class ReduxProcessor:
    """FLUX' attention with the further channels; without any it is diffusers' own."""

    _attention_backend = None
    _parallel_config = None

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        """Return what diffusers\' processor returns: the image\'s states, and the text\'s in double blocks."""
        query, key, value = _projected(attn, hidden_states, encoder_hidden_states)
        query, key = (apply_rotary_emb(each, image_rotary_emb, sequence_dim=1) for each in (query, key))
        scale = attn.head_dim**-0.5
        mixed = dispatch_attention_fn(
            self._extended(query, self._channels.query, 1.0),
            self._extended(key, self._channels.key, 1 / scale),
            self._extended(value, None, 0.0),
            attn_mask=attention_mask,
            scale=scale,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        joint = mixed[..., : attn.head_dim].flatten(2, 3).to(query.dtype)
        if encoder_hidden_states is None:
            return joint
        text, image = joint.split([encoder_hidden_states.shape[1], hidden_states.shape[1]], dim=1)
        return attn.to_out[1](attn.to_out[0](image.contiguous())), attn.to_add_out(text.contiguous())

    def _extended(self, heads: Tensor, further: Tensor | None, factor: float) -> Tensor:
        """Return (rows, tokens, heads, width) with the further channels, then zeros up to a multiple of MULTIPLE.

        Image tokens stand behind the text: their queries count all references (1), their keys are of none (0).
        """
        own = self._channels.query
        assert own is not None
        rows, tokens, count, _ = heads.shape
        width = -(-own.shape[2] // MULTIPLE) * MULTIPLE
        if further is None:
            return pad(heads, (0, width))
        behind = 1.0 if further is own else 0.0
        laid = pad(further * factor, (0, 0, 0, tokens - further.shape[1]), value=behind)
        laid = pad(laid, (0, width - further.shape[2]))
        return torch.cat([heads, laid.to(heads.dtype)[:, :, None].expand(rows, tokens, count, width)], dim=-1)


def _projected(attn: Any, image: Tensor, text: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return normalised queries and keys, and values, (rows, tokens, heads, width) of text | image."""

    def heads(states: Tensor) -> Tensor:
        return states.unflatten(-1, (-1, attn.head_dim))

    query, key = attn.norm_q(heads(attn.to_q(image))), attn.norm_k(heads(attn.to_k(image)))
    value = heads(attn.to_v(image))
    if text is None:
        return query, key, value
    of_text = (
        attn.norm_added_q(heads(attn.add_q_proj(text))),
        attn.norm_added_k(heads(attn.add_k_proj(text))),
        heads(attn.add_v_proj(text)),
    )
    first, second, third = (torch.cat(pair, dim=1) for pair in zip(of_text, (query, key, value), strict=True))
    return first, second, third
