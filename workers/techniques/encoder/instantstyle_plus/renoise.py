"""The formulas of ReNoise inversion (arXiv 2403.14602) as InstantStyle-Plus runs it."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, unfold

Roll = Callable[[int], int]
"""From a bound to a uniform draw from 0 to below it."""

LATE = 250
PATCH = 4
EPS = 1e-6
ROUNDS, AC_ROUNDS = 4, 5
LAMBDA_KL, LAMBDA_AC = 0.065, 20.0
CLIP = 100.0
SMALLEST = 8


def refinements(t: int, K: int) -> int:
    """Return how often the estimate at timestep t is refined."""
    return min(5, K) if t < LATE else K


def averaged(t: int) -> range:
    """Return which predictions i at timestep t are averaged; from its start on they are regularised."""
    return range(0, 5) if t < LATE else range(8, 10)


def noised(z_0: Tensor, n: Tensor, a: float) -> Tensor:
    """Return sqrt(a) z_0 + sqrt(1 - a) n."""
    return a**0.5 * z_0 + (1 - a) ** 0.5 * n


def patches(e: Tensor) -> Tensor:
    """Return e (1, C, h, w) as values per patch and channel, (patches, C, 16)."""
    c = e.shape[1]
    return unfold(e, PATCH, stride=PATCH)[0].T.unflatten(1, (c, PATCH * PATCH))


def kl(e: Tensor, opt: Tensor) -> Tensor:
    """Return how far the patches' statistics are from those of `opt`, a scalar; both (1, C, h, w)."""
    e, opt = patches(e), patches(opt)
    v_e, m_e = torch.var_mean(e, dim=-1)
    v_opt, m_opt = torch.var_mean(opt, dim=-1)
    divergence = torch.log((v_opt + EPS) / (v_e + EPS)) + (v_e + (m_e - m_opt) ** 2) / (v_opt + EPS) - 1
    return divergence.abs().sum()


def ac(e: Tensor, roll: Roll) -> Tensor:
    """Return the autocorrelation of e (1, C, h, w) at drawn distances on halving scales, a scalar."""
    total = e.new_zeros(())
    for c in range(e.shape[1]):
        y = e[:, c : c + 1]
        while True:
            r = roll(y.shape[2] // 2)
            total = total + sum((y * y.roll(r, dims=dim)).mean() ** 2 for dim in (2, 3))
            if y.shape[2] <= SMALLEST:
                break
            y = avg_pool2d(y, 2)
    return total


def regularised(e: Tensor, opt: Tensor, roll: Roll) -> Tensor:
    """Return the prediction e (1, C, h, w) moved towards the statistics of noise: those of `opt`, uncorrelated."""
    for _ in range(ROUNDS):
        e = e - LAMBDA_KL * _gradient(lambda x: kl(x, opt), e).clamp(-CLIP, CLIP)
        for _ in range(AC_ROUNDS):
            e = e - LAMBDA_AC * _gradient(lambda x: ac(x, roll), e) / AC_ROUNDS
    return e


def _gradient(loss: Callable[[Tensor], Tensor], e: Tensor) -> Tensor:
    with torch.enable_grad():
        x = e.detach().requires_grad_(True)
        return torch.autograd.grad(loss(x), x)[0]
