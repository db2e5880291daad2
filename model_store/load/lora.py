"""A LoRA's file, whatever tool named its tensors: the same reading when it is added and when a job uses it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders import StableDiffusionLoraLoaderMixin, StableDiffusionXLLoraLoaderMixin
from diffusers.utils.state_dict_utils import (
    convert_state_dict_to_diffusers,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)
from torch import Tensor

from model_store.catalogue.entry import Base
from model_store.errors import ModelStoreError, WrongKeys
from model_store.load.base import FLUX
from model_store.load.flux_lora import flux_halves
from model_store.load.header import read_header
from model_store.load.tensors import load_tensors

WEIGHTS = "pytorch_lora_weights.safetensors"
METADATA = "lora_adapter_metadata"
"""Where diffusers' training scripts keep peft's configuration in the file's header."""
PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2")
"""The parts of pipelines that a LoRA may change."""
_UNET_PARTS = ("unet", "text_encoder", "text_encoder_2")
DOWN, UP = ".lora_A.weight", ".lora_B.weight"
UPS = ("lora_up.weight", "lora_B.weight", "lora.up.weight", "lora_linear_layer.up.weight", "up.weight")
"""How an up projection is called after the name of its layer, by the tools that write an alpha beside it."""
MOST_RANK = 8192

Tensors = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Halves:
    """What one weight gets: `up @ down`, in float32, times `scale`."""

    down: Tensor
    up: Tensor
    scale: float


def read_lora(file: Path, base: Base, config: Any) -> dict[str, dict[str, Halves]]:
    """Return the halves of a LoRA by part of the pipeline and name of the layer, as peft names it.

    `config` is the denoiser's. Raises MalformedFile, and WrongKeys naming the tensor for names, types, ranks and
    numbers that cannot be used.
    """
    metadata = _metadata(file)
    try:
        stored = load_tensors(file, rename=lambda name: name.replace(".default.weight", ".weight"))
        tensors = _alphas_folded({name: _floating(name, tensor) for name, tensor in stored.items()})
        parts = flux_halves(tensors) if base in FLUX else _unet_halves(tensors, base, config)
        found = {part: dict(_halves(own, metadata, part)) for part, own in parts.items()}
    except ModelStoreError:
        raise
    except Exception as fault:  # what the converters say of a file that they were not made for
        line = (str(fault).strip().splitlines() or [""])[0]
        raise WrongKeys(f"{file.name}: {type(fault).__name__}: {line}") from fault
    return found


def _metadata(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(read_header(file).metadata.get(METADATA, "{}"))
    except (ValueError, RecursionError) as fault:
        raise WrongKeys(f"{file.name}: {METADATA} is not JSON") from fault
    if not isinstance(found, dict):
        raise WrongKeys(f"{file.name}: {METADATA} is no JSON object")
    return found


def _floating(name: str, tensor: Tensor) -> Tensor:
    """Return a tensor that can be computed with: of 8-bit numbers their values as float32."""
    if not tensor.is_floating_point():
        raise WrongKeys(f"{name}: is of type {tensor.dtype}, not of floating numbers")
    wide = tensor if tensor.element_size() > 1 else tensor.float()
    if not wide.isfinite().all():
        raise WrongKeys(f"{name}: has values that are not finite")
    return wide


def _alphas_folded(tensors: Tensors) -> Tensors:
    """Return the tensors without `<layer>.alpha`: each up projection is multiplied by alpha / rank."""
    folded = {name: tensor for name, tensor in tensors.items() if not name.endswith(".alpha")}
    for name in tensors.keys() - folded.keys():
        layer = name.removesuffix("alpha")
        up = next((layer + suffix for suffix in UPS if layer + suffix in folded), None)
        if up is None:
            raise WrongKeys(f"{name}: there is no layer of this alpha")
        if tensors[name].numel() != 1 or folded[up].ndim < 2:
            raise WrongKeys(f"{name}: an alpha is one number")
        folded[up] = folded[up].float() * (float(tensors[name]) / _rank(up, folded[up].shape[1]))
    return folded


def _rank(name: str, rank: int) -> int:
    if not 1 <= rank <= MOST_RANK:
        raise WrongKeys(f"{name}: has rank {rank}; 1 to {MOST_RANK} can be used")
    return rank


def _unet_halves(tensors: Tensors, base: Base, config: Any) -> dict[str, Tensors]:
    """Return the halves for a Stable Diffusion by part and name, as diffusers and peft convert them."""
    mixin = StableDiffusionXLLoraLoaderMixin if base == "sdxl" else StableDiffusionLoraLoaderMixin
    named = mixin.lora_state_dict(tensors, **({"unet_config": config} if base == "sdxl" else {}))[0]
    if strange := sorted(key for key in named if not key.startswith(tuple(f"{part}." for part in _UNET_PARTS))):
        raise WrongKeys(f"{strange[0]}: of no part that a LoRA may change")
    found: dict[str, Tensors] = {}
    for part in _UNET_PARTS:
        own = {name.removeprefix(f"{part}."): half for name, half in named.items() if name.startswith(f"{part}.")}
        if part == "unet":
            found[part] = convert_unet_state_dict_to_peft(own) if own else {}
        else:
            found[part] = convert_state_dict_to_peft(convert_state_dict_to_diffusers(own)) if own else {}
    return found


def _halves(halves: Tensors, metadata: Mapping[str, Any], part: str) -> Iterator[tuple[str, Halves]]:
    """Yield the halves of one part of the pipeline by layer."""
    config = {name.removeprefix(f"{part}."): value for name, value in metadata.items() if name.startswith(f"{part}.")}
    for name, down in halves.items():
        if name.endswith(UP) and name.removesuffix(UP) + DOWN in halves:
            continue
        if not name.endswith(DOWN) or name.removesuffix(DOWN) + UP not in halves:
            raise WrongKeys(f"{part}.{name}: a half without its other half, or no half at all")
        layer = name.removesuffix(DOWN)
        found = Halves(down, halves[layer + UP], _scale(layer, config, _rank(f"{part}.{name}", down.shape[0])))
        _check_product(f"{part}.{layer}", found)
        yield layer, found


def _scale(layer: str, config: Mapping[str, Any], rank: int) -> float:
    """Return alpha / rank of a layer as peft's configuration in the file says, 1 when it says nothing."""
    alpha = (config.get("alpha_pattern") or {}).get(layer, config.get("lora_alpha"))
    return 1.0 if alpha is None else float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)


def _check_product(name: str, halves: Halves) -> None:
    """Raise WrongKeys unless what is added to a weight is finite; computed only where its bound is not."""
    up, down = halves.up.float().flatten(1), halves.down.float().flatten(1)
    if up.shape[1] != down.shape[0]:
        raise WrongKeys(f"{name}: its halves have ranks {up.shape[1]} and {down.shape[0]}")
    bound = float(up.abs().max()) * float(down.abs().max()) * down.shape[0] * abs(halves.scale)
    if bound < torch.finfo(torch.float32).max:
        return
    if not ((up @ down) * halves.scale).isfinite().all():
        raise WrongKeys(f"{name}: adds values that are not finite")
