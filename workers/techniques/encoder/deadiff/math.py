"""DEADiff (arXiv 2403.06951): joint text-image attention, and which layers see which side of the picture."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Side = Literal["style", "content"]

COARSE = ("down_blocks.2.", "mid_block.", "up_blocks.1.attentions.0.", "up_blocks.1.attentions.1.")
"""The five coarse cross-attentions of SD1.5, 4 to 8 in the order in which they run (spec, step 7)."""


def side_of(layer: str) -> Side:
    """Return what a cross-attention, named as in `unet.attn_processors`, is shown: content if it is coarse."""
    return "content" if layer.startswith(COARSE) else "style"


def joint_attention(
    q: Tensor, k: Tensor, v: Tensor, k_i: Tensor, v_i: Tensor, heads: int, s: Tensor | None = None
) -> Tensor:
    """Return o_t + s (o - o_t): o attends to text and image in one softmax (spec, step 6), o_t to the text alone.

    q: (rows, cells, C); k, v of the text: (rows, tokens, C); k_i, v_i of the image: (rows, image tokens, C). Where the
    image has the share p of the softmax of o, it gets s p, and the text what is left. s: (rows,) in 0..1; None means 1,
    the published attention.
    """
    o = attention(q, torch.cat([k, k_i], 1), torch.cat([v, v_i], 1), heads)
    if s is None:
        return o
    return torch.lerp(attention(q, k, v, heads), o, s.to(o)[:, None, None])


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Return softmax(q k^T / sqrt(C / heads)) v per head, for q (rows, cells, C) and k, v (rows, tokens, C)."""
    Q, K, V = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(Q, K, V).transpose(1, 2).flatten(2)


def is_own(own: Tensor, theirs: Tensor) -> bool:
    """Return whether two stored weights differ by no more than the coarser of the two stores.

    own: the base model's, in the dtype it runs in, before that perhaps stored in half precision; theirs: the
    checkpoint's. A base model in float32 that is finer than the checkpoint is not the same: it can be rounded.
    """
    exact = theirs.float()
    if own.dtype is torch.float32:
        return torch.equal(own, exact) or torch.equal(own, exact.half().float())
    half = torch.finfo(torch.float16)
    coarser = max(torch.finfo(own.dtype).eps, torch.finfo(theirs.dtype).eps)
    allowed = exact.abs() * coarser + half.smallest_normal * half.eps
    return bool(((own.float() - exact).abs() <= allowed).all())


def is_rounded(own: Tensor, theirs: Tensor) -> bool:
    """Return whether `theirs` is `own` rounded to half precision."""
    return torch.equal(rounded(own), theirs.to(own.dtype))


def rounded(own: Tensor) -> Tensor:
    """Return a weight rounded to half precision, in its own dtype."""
    return own.half().to(own.dtype)
