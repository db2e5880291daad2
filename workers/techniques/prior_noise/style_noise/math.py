"""Diffusion in Style (ICCV 2023), in the paper's symbols; the formulas of specs/prior-noise, "Style-noise mode".

mu, sig: (C, h, w), mean and standard deviation of the style's latents. abar_t: alphas_cumprod at timestep t.
"""

from torch import Tensor


def style_noise(mu: Tensor, sig: Tensor, e: Tensor) -> Tensor:
    """Return n = mu + sig e, e (n, C, h, w) from N(0, I): z_T at sampling, the noise and the target in training."""
    return mu + sig * e


def between(mu: Tensor, sig: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Return the mean and deviation at a strength: those of N(0, I) at 0, mu and sig at 1."""
    return strength * mu, (1 - strength) + strength * sig


def forward(z_0: Tensor, n: Tensor, abar_t: Tensor) -> Tensor:
    """Return z_t = sqrt(abar_t) z_0 + sqrt(1 - abar_t) n; z_0, n (N, C, h, w), abar_t (N)."""
    abar = abar_t.to(z_0)[:, None, None, None]
    return abar.sqrt() * z_0 + (1 - abar).sqrt() * n


def loss(prediction: Tensor, n: Tensor) -> Tensor:
    """Return the mean over all elements of (prediction - n)^2. The target is n, not e: the sampler is unchanged."""
    return (prediction.float() - n.float()).square().mean()
