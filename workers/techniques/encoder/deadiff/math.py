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
    q: Tensor, k: Tensor, v: Tensor, k_i: Tensor, v_i: Tensor, heads: int, m: Tensor | None = None
) -> Tensor:
    """Return softmax over text and image in one: sum (e^{q k} v + m e^{q k_i} v_i) / sum (e^{q k} + m e^{q k_i}).

    q: (rows, cells, C); k, v of the text: (rows, tokens, C); k_i, v_i of the image: (rows, image tokens, C). m (rows,)
    is the image's share, above 0; None means 1, the published attention (spec, step 6). Products are divided by
    sqrt(C / heads).
    """
    bias = None
    if m is not None:
        bias = torch.zeros(len(m), 1, 1, k.shape[1] + k_i.shape[1], dtype=q.dtype, device=q.device)
        bias[..., k.shape[1] :] = m.log().to(bias)[:, None, None, None]
    Q, K, V = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, torch.cat([k, k_i], 1), torch.cat([v, v_i], 1)))
    return F.scaled_dot_product_attention(Q, K, V, attn_mask=bias).transpose(1, 2).flatten(2)


def is_own(own: Tensor, theirs: Tensor) -> bool:
    """Return whether two stored weights differ by no more than the coarser of the two stores.

    own: the base model's, in the dtype it runs in; theirs: the checkpoint's. Either may have been rounded to half
    precision before.
    """
    exact = theirs.float()
    if own.dtype is not torch.float32:
        smallest = torch.finfo(torch.float16).smallest_normal * torch.finfo(torch.float16).eps
        allowed = exact.abs() * torch.finfo(own.dtype).eps + smallest
        return bool(((own.float() - exact).abs() <= allowed).all())
    return torch.equal(own, exact) or torch.equal(own, exact.half().float())


def is_rounded(own: Tensor, theirs: Tensor) -> bool:
    """Return whether `theirs` is `own` rounded to half precision."""
    return torch.equal(rounded(own), theirs.to(own.dtype))


def rounded(own: Tensor) -> Tensor:
    """Return a weight rounded to half precision, in its own dtype."""
    return own.half().to(own.dtype)
