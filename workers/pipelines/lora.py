"""A LoRA from its file: what it adds to which weights, whatever tool named its tensors. Nothing is changed here."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers.utils.state_dict_utils import (
    convert_state_dict_to_diffusers,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)
from torch import Tensor, nn

from model_store.errors import ModelStoreError
from model_store.load.header import read_header
from model_store.load.tensors import load_tensors
from workers.pipelines.backbone import Backbone
from workers.pipelines.errors import ModelUnusable, Refused

WEIGHTS = "pytorch_lora_weights.safetensors"
METADATA = "lora_adapter_metadata"
"""Where diffusers' training scripts keep peft's configuration in the file's header."""
PARTS = ("unet", "text_encoder", "text_encoder_2")
DOWN, UP = ".lora_A.weight", ".lora_B.weight"
UPS = ("lora_up.weight", "lora_B.weight", "lora.up.weight", "lora_linear_layer.up.weight", "up.weight")
"""How an up projection is called after the name of its layer, by the tools that write an alpha beside it."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Change:
    """What one weight gets: `up @ down` in float32 times `scale`, in the weight's shape."""

    down: Tensor
    up: Tensor
    scale: float

    def added_to(self, own: Tensor, scale: float) -> Tensor:
        """Return a float32 weight with the change, times `scale`, added."""
        up, down = (half.to(own.device, own.dtype).flatten(1) for half in (self.up, self.down))
        return own + (scale * self.scale) * (up @ down).view_as(own)


@dataclass(frozen=True, eq=False)
class Lora:
    """A loaded LoRA: its changes by part of the pipeline and name of the parameter. `fingerprint` is for cache keys."""

    changes: Mapping[str, Mapping[str, Change]]
    fingerprint: str


def fingerprint(folder: Path) -> str:
    """Return a name for the content of a LoRA's folder. Raises ModelUnusable when it holds none."""
    try:
        facts = (folder / WEIGHTS).stat()
    except OSError as missing:
        raise ModelUnusable(f"{folder} holds no LoRA: {missing}") from missing
    return f"{folder}:{facts.st_size}:{facts.st_mtime_ns}"


def read(folder: Path, backbone: Backbone) -> Lora:
    """Return the LoRA in a folder of the store, with tensor names of kohya, diffusers (old and new) or peft.

    Raises ModelUnusable when the file cannot be read, Refused, naming the tensor, when it was made for another model.
    """
    file = folder / WEIGHTS
    name = fingerprint(folder)
    try:
        header = read_header(file)
        tensors = _alphas_folded(load_tensors(file, rename=lambda stored: stored.replace(".default.weight", ".weight")))
        metadata = json.loads(header.metadata.get(METADATA, "{}"))
        config = {"unet_config": backbone.unet.config} if backbone.base == "sdxl" else {}
        named = backbone.pipe.lora_state_dict(tensors, **config)[0]
        if strange := sorted(key for key in named if not key.startswith(tuple(f"{part}." for part in PARTS))):
            raise KeyError(strange[0])
        return Lora({part: dict(_changes(named, metadata, part, backbone)) for part in PARTS}, name)
    except (ModelStoreError, OSError) as broken:
        raise ModelUnusable(f"{file} cannot be loaded: {broken}") from broken
    except (ValueError, KeyError) as unknown:
        raise Refused(f"the LoRA {folder.name} has names that are not known: {unknown}") from unknown


def _alphas_folded(tensors: Tensors) -> Tensors:
    """Return the tensors without `<layer>.alpha`: each up projection is multiplied by alpha / rank."""
    folded = {name: tensor for name, tensor in tensors.items() if not name.endswith(".alpha")}
    for name in tensors.keys() - folded.keys():
        layer = name.removesuffix("alpha")
        up = next((layer + suffix for suffix in UPS if layer + suffix in folded), None)
        if up is None:
            raise KeyError(f"{name}: there is no layer of this alpha")
        folded[up] = folded[up].float() * (float(tensors[name]) / folded[up].shape[1])
    return folded


def _changes(
    named: Mapping[str, Tensor], metadata: Mapping[str, Any], part: str, backbone: Backbone
) -> Iterator[tuple[str, Change]]:
    """Yield the changes of one part of the pipeline by the names of its parameters."""
    own = {name.removeprefix(f"{part}."): tensor for name, tensor in named.items() if name.startswith(f"{part}.")}
    if not own:
        return
    module = getattr(backbone.pipe, part, None)
    if module is None:
        raise Refused(f"the LoRA changes {part}, which {backbone.name} has not: it was made for another base model")
    config = {name.removeprefix(f"{part}."): value for name, value in metadata.items() if name.startswith(f"{part}.")}
    halves = convert_unet_state_dict_to_peft(own) if part == "unet" else _of_text_encoder(own, module)
    shapes = {name: parameter.shape for name, parameter in module.named_parameters()}
    for name, down in halves.items():
        if name.endswith(UP) and name.removesuffix(UP) + DOWN in halves:
            continue
        if not name.endswith(DOWN):
            raise KeyError(f"{part}.{name}")
        layer = name.removesuffix(DOWN)
        change = Change(down, halves[layer + UP], _scale(layer, config, down.shape[0]))
        weight = f"{layer}.weight"
        if weight not in shapes or (change.up.shape[0], change.down[0].numel()) != _matrix(shapes[weight]):
            raise Refused(f"the LoRA does not fit {backbone.name}: {part} has no weight {weight} of its shape")
        yield weight, change


def _of_text_encoder(own: Tensors, module: nn.Module) -> Tensors:
    """Return a text encoder's halves by the names its layers have; older files have a wrapper's prefix more."""
    halves: Tensors = convert_state_dict_to_peft(convert_state_dict_to_diffusers(own))
    if hasattr(module, "text_model"):
        return halves
    return {name.removeprefix("text_model."): tensor for name, tensor in halves.items()}


def _scale(layer: str, config: Mapping[str, Any], rank: int) -> float:
    """Return alpha / rank of a layer as peft's configuration in the file says, 1 when it says nothing."""
    alpha = (config.get("alpha_pattern") or {}).get(layer, config.get("lora_alpha"))
    return 1.0 if alpha is None else float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)


def _matrix(shape: Any) -> tuple[int, int]:
    """Return rows and columns of a weight, a convolution's flattened."""
    return shape[0], shape[1:].numel()
