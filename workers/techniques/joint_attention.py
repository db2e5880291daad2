"""Joint attention over text and pictures as in FLUX, with less of it for some tokens, in a form for fused kernels.

log s is added to the logits where the key is a token of a reference and the query is one that the bias is for. The
logits are q k scale, so a further channel with q' = 1 (0 for other queries), k' = log s / scale on those keys and
v' = 0 adds just that: a mask of tokens x tokens would cost the fused kernels and much memory.
"""

import math
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import Tensor
from torch.nn.functional import pad

from workers.engine.technique import GenerationInputs

NOTHING = -1e9
"""The logit's change that takes all attention away."""
MULTIPLE = 8
"""Fused kernels want heads of a multiple of this width."""


def bias_of(factor: float) -> float:
    """Return what is added to the logits so that the attention is multiplied by a factor of 0 or more."""
    return math.log(factor) if factor > 0 else NOTHING


def strengths(inputs: GenerationInputs, count: int) -> tuple[float, ...]:
    """Return the factor on the attention to each reference: strength squared, times its weight over the largest.

    The square makes half of the strength about half of the effect.
    """
    s = inputs.strength**2
    if count == 1:
        return (s,)
    return tuple(s * weight / max(inputs.weights) for weight in inputs.weights)


def biased_attention(
    query: Tensor, key: Tensor, value: Tensor, of_query: Tensor, of_key: Tensor, **dispatch: Any
) -> Tensor:
    """Return attention (rows, queries, heads, width) with of_query of_key^T added to the logits of every head.

    `of_query` (rows, queries, n) and `of_key` (rows, keys, n) are the further channels; `dispatch` goes to diffusers.
    """
    head, scale = value.shape[3], query.shape[3] ** -0.5
    width = -(-of_query.shape[2] // MULTIPLE) * MULTIPLE
    mixed: Tensor = dispatch_attention_fn(
        _extended(query, of_query, width),
        _extended(key, of_key / scale, width),
        pad(value, (0, width)),
        scale=scale,
        **dispatch,
    )
    return mixed[..., :head]


def _extended(heads: Tensor, further: Tensor, width: int) -> Tensor:
    """Return (rows, tokens, heads, ...) with the further channels, then zeros, `width` in all."""
    laid = pad(further, (0, width - further.shape[2])).to(heads.dtype)
    return torch.cat([heads, laid[:, :, None].expand(-1, -1, heads.shape[2], -1)], dim=-1)


def projected(attn: Any, image: Tensor, text: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return normalised queries and keys, and values, (rows, tokens, heads, width) of text | image.

    `attn` is the attention of a double block, or of a single block of FLUX.1, which has no text of its own.
    """

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


def separated(attn: Any, joint: Tensor, text_tokens: int) -> tuple[Tensor, Tensor]:
    """Return what a double block's attention gives, of mixed heads (rows, text | image tokens, width): image, text."""
    text, image = joint.split([text_tokens, joint.shape[1] - text_tokens], dim=1)
    return attn.to_out[1](attn.to_out[0](image.contiguous())), attn.to_add_out(text.contiguous())
