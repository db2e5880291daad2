"""What the reference leaves behind at each step: keys, values and statistics by layer, moments by GroupNorm.

A tensor of the recording is (steps, halves, ...); halves are the unconditional and the conditional one, or only the
conditional one without guidance. Names are `<layer>.<quality>`.

In bfloat16 with guidance SDXL at 1024 px leaves 0.84 GB a step, 25 GB in 30; SD1.5 at 512 px 92 MB, 2.8 GB. A tier of
the style cache in memory needs that budget; where none has it, nothing is recorded and the reference is denoised
jointly with every request: the same pictures at twice the price.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from workers.engine.backbones.base import Backbone


class Recording:
    """Takes the reference's features step by step, into memory of a device that has room for them."""

    def __init__(self, steps: int, device: torch.device) -> None:
        self.steps = steps
        self.step = 0
        self.tensors: dict[str, Tensor] = {}
        self._device = device

    def put(self, name: str, value: Tensor) -> None:
        """Keep a feature (halves, ...) of the current step."""
        if name not in self.tensors:
            self.tensors[name] = torch.empty(self.steps, *value.shape, dtype=value.dtype, device=self._device)
        self.tensors[name][self.step].copy_(value)


class Features:
    """A finished recording. Near memory is read in place, far memory (pinned) is copied when a layer asks."""

    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        self._tensors = tensors
        self._device = device

    def at(self, name: str, step: int, half: int) -> Tensor:
        """Return a feature of one half at one step, on the model's device."""
        return self._tensors[name][step, half].to(self._device, non_blocking=True)


def token_bytes(backbone: Backbone, layers: tuple[str, ...], width: int, height: int) -> int:
    """Return the bytes of one half's keys and values at one step. Statistics and moments are less than a hundredth."""
    levels = len(backbone.denoiser.config.block_out_channels)
    _, h, w = backbone.latent_shape(width, height)
    sizes = [(h, w)]
    for _ in range(levels - 1):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    elements = 0
    for name in layers:
        h, w = sizes[_level(name, levels)]
        elements += 2 * h * w * _channels(backbone.denoiser.get_submodule(name))
    return elements * backbone.dtype.itemsize


def _level(layer: str, levels: int) -> int:
    """Return how often the latents were halved before a layer, from its place in the UNet."""
    block, *rest = layer.split(".")
    if block == "down_blocks":
        return int(rest[0])
    return levels - 1 - (int(rest[0]) if block == "up_blocks" else 0)


def _channels(attention: Any) -> int:
    return int(attention.to_k.out_features)
