"""The latent code: principal components of 8x8 patches. Exact, linear, and there before any training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

PATCH = 8
CHANNELS = 8
SCALING_FACTOR = 0.18215  # of Stable Diffusion 1.x; the autoencoder's own code is this much wider


@dataclass(frozen=True)
class PatchCode:
    """latent = projection @ (patch - mean); `projection` (8, 192), `mean` (192,), patches flattened as (c, y, x)."""

    mean: Tensor
    projection: Tensor

    def encode(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [-1, 1] to scaled latents (n, 8, h/8, w/8): what the UNet sees."""
        kernel = self.projection.reshape(CHANNELS, 3, PATCH, PATCH)
        bias = -(self.projection @ self.mean)
        return torch.nn.functional.conv2d(images, kernel, bias, stride=PATCH)


def fit_patch_code(images: NDArray[np.uint8]) -> PatchCode:
    """Principal components k of the patches, divided by sqrt(sd_k): the spectrum flattened half-way, then unit RMS."""
    pixels = as_tensor(images)
    patches = (
        torch.nn.functional.unfold(pixels, PATCH, stride=PATCH).permute(0, 2, 1).reshape(-1, 3 * PATCH**2).double()
    )
    mean = patches.mean(dim=0)
    centred = patches - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    deviations = values.flip(0)[:CHANNELS].sqrt()
    components = vectors.flip(1).T[:CHANNELS]
    components = components * components.sum(dim=1, keepdim=True).sign()
    projection = components / (deviations * deviations.mean()).sqrt()[:, None]
    return PatchCode(mean.float(), projection.float())


def as_tensor(images: NDArray[np.uint8]) -> Tensor:
    """(n, h, w, 3) uint8 to (n, 3, h, w) float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def encode_all(code: PatchCode, images: NDArray[np.uint8], batch: int = 256) -> Tensor:
    """Latents of many pictures, (n, 8, h/8, w/8) float32."""
    parts = [code.encode(as_tensor(images[start : start + batch])) for start in range(0, len(images), batch)]
    return torch.cat(parts)


def save_patch_code(code: PatchCode, path: Path) -> None:
    """Write mean and projection as safetensors."""
    save_file({"mean": code.mean, "projection": code.projection.contiguous()}, path)


def load_patch_code(path: Path) -> PatchCode:
    """Read what `save_patch_code` wrote."""
    tensors = load_file(path)
    return PatchCode(tensors["mean"], tensors["projection"])
