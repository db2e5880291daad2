"""Statistics of a style set's latents, in the papers' symbols, with ddof 1 throughout.

z: (N, C, h, w) float32, one latent per style image. w: (N) weights summing to 1; equal weights give the unbiased
sample statistics.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Coordinates = tuple[tuple[int, int], ...]


def pixel(z: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Return element-wise mean and unbiased variance, each (C, h, w). Needs N > 1: one image has no variance."""
    mean = torch.einsum("n,n...->...", w, z)
    var = torch.einsum("n,n...->...", w, (z - mean).square()) / _unbias(w)
    return mean, var


def palette(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return one latent's (C, h, w) spatial mean and unbiased variance per channel, constant over space."""
    mean = z.mean(dim=(-2, -1), keepdim=True).expand_as(z)
    var = z.var(dim=(-2, -1), keepdim=True, correction=1).expand_as(z)
    return mean.clone(), var.clone()


def lowest(n: int, side: int) -> Coordinates:
    """Return the n DCT coordinates (row, col) nearest to zero frequency; equal radii in order of row, then col."""
    cells = ((row, col) for row in range(side) for col in range(side))
    return tuple(sorted(cells, key=lambda cell: (cell[0] ** 2 + cell[1] ** 2, *cell))[:n])


def dct_matrix(side: int) -> Tensor:
    """Return the orthonormal DCT-II matrix D (side, side), float64: D x transforms a column."""
    k = torch.arange(side, dtype=torch.float64)[:, None]
    x = torch.arange(side, dtype=torch.float64)[None, :]
    D = torch.cos(math.pi * (2 * x + 1) * k / (2 * side)) * math.sqrt(2 / side)
    D[0] /= math.sqrt(2)
    return D


def components(z: Tensor, coordinates: Coordinates) -> Tensor:
    """Return the DCT coefficients of z (..., C, side, side) at the coordinates, component-major (..., n * C)."""
    D = dct_matrix(z.shape[-1]).to(z.device)
    Z = D @ z.double() @ D.T
    rows, cols = zip(*coordinates, strict=True)
    chosen = Z[..., list(rows), list(cols)]
    return chosen.transpose(-1, -2).flatten(-2).to(z.dtype)


def image_of(low: Tensor, coordinates: Coordinates, side: int) -> Tensor:
    """Return the inverse DCT (..., C, side, side) of component-major coefficients (..., n * C), all others 0."""
    n = len(coordinates)
    L = low.double().unflatten(-1, (n, -1)).transpose(-1, -2)
    Z = torch.zeros(*L.shape[:-1], side, side, dtype=torch.float64, device=low.device)
    rows, cols = zip(*coordinates, strict=True)
    Z[..., list(rows), list(cols)] = L
    D = dct_matrix(side).to(low.device)
    return (D.T @ Z @ D).to(low.dtype)


def dct_pixel(z: Tensor, w: Tensor, coordinates: Coordinates) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return mean_lf (n C), cov_lf (n C, n C), mean_hf (C, h, w), var_hf (C, h, w) of square latents; needs N > 1."""
    L = components(z, coordinates)
    H = z - image_of(L, coordinates, z.shape[-1])
    mean_lf = torch.einsum("n,nd->d", w, L)
    centred = (L - mean_lf).double()
    cov_lf = torch.einsum("n,ni,nj->ij", w.double(), centred, centred) / _unbias(w)
    mean_hf, var_hf = pixel(H, w)
    return mean_lf, cov_lf.to(z.dtype), mean_hf, var_hf


def _unbias(w: Tensor) -> float:
    """Return 1 - sum w^2, which for equal weights is (N - 1) / N."""
    return 1.0 - float(w.double().square().sum())


def equal(n: int) -> Tensor:
    """Return n equal weights."""
    return weights([1.0] * n)


def weights(values: Sequence[float]) -> Tensor:
    """Return values as weights summing to 1, float32."""
    w = torch.tensor(list(values), dtype=torch.float64)
    return (w / w.sum()).float()
