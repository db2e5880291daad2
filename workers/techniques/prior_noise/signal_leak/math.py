"""Signal leak (WACV 2024, arXiv 2309.15842): the initial latent, in the paper's symbols.

x = sqrt(a) s + sqrt(1 - a) e2, with s the leak drawn from the style's statistics and a = alphas_cumprod[t0].
"""

import math

from torch import Tensor

from workers.techniques.prior_noise.statistics import Coordinates, image_of


def pixel_leak(mean: Tensor, var: Tensor, e1: Tensor) -> Tensor:
    """Return s = mean + sqrt(var) e1; mean, var (C, h, w), e1 (n, C, h, w)."""
    return mean + var.clamp(min=0).sqrt() * e1


def dct_leak(low: Tensor | None, mean_hf: Tensor, var_hf: Tensor, e1: Tensor, coordinates: Coordinates) -> Tensor:
    """Return s = IDCT(low) + mean_hf + sqrt(var_hf) e1; low (n, components * C), or None to leave it out (only_hf)."""
    s = pixel_leak(mean_hf, var_hf, e1)
    return s if low is None else image_of(low, coordinates, e1.shape[-1]) + s


def mixed(s: Tensor, e2: Tensor, a: float, k: float) -> Tensor:
    """Return x = sqrt(a) k s + sqrt(1 - a) e2, all (n, C, h, w)."""
    return math.sqrt(a) * k * s + math.sqrt(1 - a) * e2


def variance_exploding(x: Tensor, sigma: float, init_noise_sigma: float) -> Tensor:
    """Return x such that times `init_noise_sigma` it is sqrt(sigma^2 + 1) x.

    That is the change of variables to schedulers whose latents are z0 + sigma e. It is the identity where
    init_noise_sigma = sqrt(sigma^2 + 1) (leading spacing), 0.2 % where it is sigma itself.
    """
    return x * (math.sqrt(sigma**2 + 1) / init_noise_sigma)
