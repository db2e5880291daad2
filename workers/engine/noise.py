"""Random draws, made on the CPU in float32 from one seed per picture, cast to the device last.

Every draw has a name and its own stream, so neither the order of the draws nor the number of pictures beside it
changes a picture. The stream `initial` of a seed is torch's CPU generator with that seed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

INITIAL = "initial"


class Noise(Protocol):
    """Where a technique gets its random numbers from: one row per picture."""

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        """Return independent N(0, 1) draws, float32 (pictures, *shape) on the CPU."""
        ...

    def multivariate(self, name: str, mean: Tensor, covariance: Tensor) -> Tensor:
        """Return draws of N(mean (d), covariance (d, d)), float32 (pictures, d) on the CPU."""
        ...


class SeededNoise:
    """Draws from a seed per picture."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = tuple(seeds)

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        """Return independent N(0, 1) draws, float32 (pictures, *shape) on the CPU."""
        return torch.stack([torch.randn(tuple(shape), generator=_generator(name, seed)) for seed in self.seeds])

    def multivariate(self, name: str, mean: Tensor, covariance: Tensor) -> Tensor:
        """Return draws of N(mean, covariance), float32 (pictures, d) on the CPU; the covariance may be singular."""
        values, vectors = torch.linalg.eigh(covariance.double().cpu())
        root = vectors * values.clamp(min=0).sqrt()
        e = self.normal(name, mean.shape).double()
        return (mean.double().cpu() + e @ root.T).float()


class RecordedNoise:
    """Draws that were made elsewhere: name -> tensor with one row per picture. An unknown name is a KeyError."""

    def __init__(self, draws: Mapping[str, Tensor]) -> None:
        self._draws = draws

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        """Return the recorded rows of `name`; raises ValueError when their shape is another."""
        rows = self._draws[name]
        if tuple(rows.shape[1:]) != tuple(shape):
            raise ValueError(f"recorded draw {name!r} has rows of {tuple(rows.shape[1:])}, wanted {tuple(shape)}")
        return rows.float()

    def multivariate(self, name: str, mean: Tensor, covariance: Tensor) -> Tensor:
        """Return the recorded rows of `name`."""
        return self.normal(name, mean.shape)


def _generator(name: str, seed: int) -> torch.Generator:
    if name != INITIAL:
        seed = int.from_bytes(hashlib.sha256(f"{name}:{seed}".encode()).digest()[:7], "big")
    return torch.Generator("cpu").manual_seed(seed)
