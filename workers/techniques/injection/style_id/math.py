"""StyleID (CVPR 2024, arXiv 2312.09008) in its symbols: AdaIN of the start, query preservation, injected attention.

c: content, s: style, cs: the picture being made.
"""

import torch.nn.functional as F
from torch import Tensor


def initial_latent_adain(z_c: Tensor, z_s: Tensor, eps: float) -> Tensor:
    """Return z_c with the mean and standard deviation of z_s per channel over space, step 4; std with ddof 1.

    z_c (1, C, h, w) and z_s (1, C, h', w'), float32; sizes may differ. `eps` is added to the content's std alone.
    """
    space = (-2, -1)
    sigma_c = z_c.std(space, keepdim=True) + eps
    sigma_s = z_s.std(space, keepdim=True)
    return (z_c - z_c.mean(space, keepdim=True)) / sigma_c * sigma_s + z_s.mean(space, keepdim=True)


def preserved_query(Q_c: Tensor, Q_cs: Tensor, gamma: float) -> Tensor:
    """Return gamma Q_c + (1 - gamma) Q_cs, step 5; both (rows, tokens, width)."""
    return gamma * Q_c + (1 - gamma) * Q_cs


def attention(Q: Tensor, K: Tensor, V: Tensor, *, heads: int, scale: float) -> Tensor:
    """Return softmax(scale Q K^T) V per head, (rows, tokens, width).

    Q (rows, tokens, width), K and V (rows, other tokens, width). The injected layers have scale T / sqrt(d).
    """

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    return F.scaled_dot_product_attention(split(Q), split(K), split(V), scale=scale).transpose(1, 2).flatten(-2)


def injected_share(strength: float) -> float:
    """Return how far outputs and start go from the content's own (0) to the published method's (1, from 0.5 on)."""
    return min(1.0, 2 * strength)


def preservation(strength: float, gamma: float) -> float:
    """Return gamma at a strength: as given up to 0.5, then falling to 0.4 of it (0.75 to the strong setting 0.3)."""
    return gamma * (1 - 1.2 * max(0.0, strength - 0.5))
