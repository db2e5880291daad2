"""StyleAligned (CVPR 2024, arXiv 2312.02133), section 4 and the published code, as pure functions.

x (B, N, C) are a self-attention's tokens, heads side by side in C; subscript r is the reference. w (B, 1, 1) is how
strongly a row follows its reference: 1 is the paper's, 0 leaves the row as it is.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

EPS = 1e-5


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return m = mean_N(x) and s = sqrt(var_N(x) + eps), unbiased, each float32 (B, 1, C)."""
    m = x.mean(1, keepdim=True, dtype=torch.float32)
    var = (x - m).square().sum(1, keepdim=True) / (x.shape[1] - 1)
    return m, (var + EPS).sqrt()


def adain(x: Tensor, m: Tensor, s: Tensor, m_r: Tensor, s_r: Tensor, w: Tensor) -> Tensor:
    """Return (1 - w) x + w ((x - m) / s * s_r + m_r), in x's dtype."""
    a = 1 + w * (s_r / s - 1)
    b = w * (m_r - m * s_r / s)
    return torch.addcmul(b.to(x.dtype), x, a.to(x.dtype))


def moments(x: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Return the mean and biased variance of each group of channels of x (B, C, ...), float32 (B, groups)."""
    x = x.reshape(len(x), groups, -1)
    mu = x.mean(2, dtype=torch.float32)
    return mu, (x - mu[:, :, None]).square().mean(2)


def mixed_moments(mu: Tensor, var: Tensor, mu_r: Tensor, var_r: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Return the moments (B, groups) of a row's activations pooled with its reference's, weighted 1 - w/2 and w/2."""
    p = w / 2
    return (1 - p) * mu + p * mu_r, (1 - p) * var + p * var_r + p * (1 - p) * (mu - mu_r).square()


def normalised(x: Tensor, mu: Tensor, var: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    """Return GroupNorm's result for x (B, C, ...) with these moments (B, groups), affine gamma, beta (C)."""
    repeats = x.shape[1] // mu.shape[1]
    rstd = (var + eps).rsqrt()
    a = rstd.repeat_interleave(repeats, dim=1) * gamma
    b = beta - mu.repeat_interleave(repeats, dim=1) * a
    spread = (..., *(None,) * (x.ndim - 2))
    return torch.addcmul(b[spread].to(x.dtype), x, a[spread].to(x.dtype))


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | None) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + bias) v for q (B, N, C) and k, v (B, M, C); bias (B, 1, 1, M)."""
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)


def reference_shift(shift: float, w: float) -> float:
    """Return shift + ln w: what is added to the logits of the reference's columns, so that they weigh w e^shift."""
    return shift + math.log(w)


def plain_layers(L: int, level: float) -> tuple[bool, ...]:
    """Return which of L self-attentions stay plain under only_self_level.

    Raises ZeroDivisionError where the level picks none, as int(level * L) does for small ones.
    """
    if level in (0, 1):
        return (level == 1,) * L
    flip = level > 0.5
    count = int((1 - level if flip else level) * L)
    period = L // count
    return tuple((i % period == 0) != flip for i in range(L))


def replayed(step: int, offset: int) -> int:
    """Return which inverted latent (0 the noisiest) replaces the reference's after `step` steps; before any: offset."""
    return max(offset + 1, step) if step else offset
