"""IP-Adapter (arXiv 2308.06721) for several images; the attention itself is diffusers' (see encoder/attention.py)."""

from collections.abc import Sequence

import torch
from torch import Tensor


def mean(e: Tensor, w: Sequence[float]) -> Tensor:
    """Return sum_i w_i e_i (1, D) of embeddings e (n, D) that are not normalised; the weights w sum to 1."""
    return torch.tensor([w], dtype=e.dtype, device=e.device) @ e


def weighed(V: Tensor, w: Sequence[float]) -> Tensor:
    """Return values V (n * tokens, width) of n images side by side with image i's multiplied by n w_i.

    Equal weights change nothing: one softmax over all tokens, as published.
    """
    n = len(w)
    factors = torch.tensor([n * w_i for w_i in w], dtype=V.dtype, device=V.device)
    return (V.unflatten(0, (n, -1)) * factors[:, None, None]).flatten(0, 1)
