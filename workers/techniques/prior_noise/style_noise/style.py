"""A trained style as a folder: statistics in the published format, tuned weights, and what they were made for.

style.json            {"base": "sd15", "model": "...", "width": 512, "height": 512}
stats.safetensors, statistic_type.txt
pytorch_lora_weights.safetensors   a LoRA in diffusers' layout, or
diffusion_pytorch_model.safetensors   tuned weights of the UNet, all or some of them
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model_store.errors import ModelStoreError
from model_store.load.lora import WEIGHTS as LORA
from model_store.load.tensors import load_tensors
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.loras import file as lora_file
from workers.engine.errors import ModelUnusable, Refused
from workers.techniques.prior_noise import stats_file

TUNED = "diffusion_pytorch_model.safetensors"
Deltas = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class NoiseStatistics:
    """A loaded style. mu, sig: (C, h, w) float32. `deltas`: what the tuning added to the UNet's weights, by name."""

    mu: Tensor
    sig: Tensor
    deltas: Deltas


def read(folder: Path, backbone: Backbone) -> NoiseStatistics:
    """Return the style in a folder for a base model. Raises Refused when it is not one, or was made for another."""
    try:
        facts = json.loads((folder / "style.json").read_text())
        base = facts["base"]
    except (OSError, ValueError, KeyError) as broken:
        raise Refused(f"{folder.name} is not a trained style: {broken}") from broken
    if base != backbone.base:
        raise Refused(f"{folder.name} was trained on {base}; {backbone.name} is {backbone.base}")
    kind, tensors = stats_file.read(folder)
    if kind != "pixel":
        raise Refused(f"{folder.name} has {kind} statistics; style-noise needs pixel statistics")
    return NoiseStatistics(tensors["mean_pixels"], tensors["var_pixels"].sqrt(), read_deltas(folder, backbone))


def read_deltas(folder: Path, backbone: Backbone) -> Deltas:
    """Return the change of each tuned UNet weight, on the model's device and in its dtype."""
    weights = dict(backbone.denoiser.named_parameters())
    try:
        if (folder / LORA).exists():
            changes = lora_file.read(folder, backbone).changes["unet"]
            deltas = {name: change.added_to(torch.zeros(weights[name].shape), 1.0) for name, change in changes.items()}
        else:
            tuned = load_tensors(folder / TUNED)
            deltas = {name: tensor.float() - weights[name].float().cpu() for name, tensor in tuned.items()}
    except (ModelStoreError, OSError, KeyError, RuntimeError, ModelUnusable) as broken:
        raise Refused(f"{folder.name} has no weights tuned for this model: {broken}") from broken
    for name, delta in deltas.items():
        if name not in weights or weights[name].shape != delta.shape:
            raise Refused(f"{folder.name} was tuned on another UNet: {name} does not fit")
    return {name: delta.to(backbone.device, backbone.dtype) for name, delta in deltas.items()}


def checked(style: NoiseStatistics, shape: tuple[int, int, int], name: str) -> NoiseStatistics:
    """Return the style. Raises Refused unless its statistics have the latents' shape: they are tied to VAE and size."""
    if tuple(style.mu.shape) != shape:
        raise Refused(f"style {name} was measured on latents of {tuple(style.mu.shape)}, this request has {shape}")
    if not torch.isfinite(style.sig).all():
        raise Refused(f"style {name} has statistics that are not numbers: it needs several pictures")
    return style
