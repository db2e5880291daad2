"""An IP-Adapter's weights in the nested form that diffusers' loader takes."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from model_store.errors import WrongKeys
from model_store.load.component import empty_component
from model_store.load.tensors import load_tensors


def load_ip_adapter(
    file: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> dict[str, dict[str, torch.Tensor]]:
    """Return `{"image_proj": {...}, "ip_adapter": {...}}` of a safetensors file in the published layout.

    Raises MalformedFile or WrongKeys, naming file and key, before memory is taken for a broken file.
    """
    nested: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in load_tensors(file, device=device, dtype=dtype).items():
        part, _, rest = name.partition(".")
        if part not in nested:
            raise WrongKeys(f"{file}: {name}: not part of an IP-Adapter")
        nested[part][rest] = tensor
    for part, tensors in nested.items():
        if not tensors:
            raise WrongKeys(f"{file}: {part}: missing")
    return nested


@cache
def adapter_shapes(configs: Path) -> dict[str, list[int]]:
    """Return name and shape of every adapter layer for the UNet described in `configs/unet/config.json`.

    The number in a name is the position among all attention processors, in diffusers' order: down, up, middle.
    """
    unet: Any = empty_component(configs / "unet", UNet2DConditionModel)
    width = text_width(configs)
    shapes: dict[str, list[int]] = {}
    for position, name in enumerate(unet.attn_processors):
        layer = name.removesuffix(".processor")
        if layer.endswith("attn2"):
            rows = unet.get_submodule(layer).to_k.out_features
            shapes[f"ip_adapter.{position}.to_k_ip.weight"] = [rows, width]
            shapes[f"ip_adapter.{position}.to_v_ip.weight"] = [rows, width]
    return shapes


def text_width(configs: Path) -> int:
    """Return the channels of the text that the UNet of `configs` attends to."""
    return int(UNet2DConditionModel.load_config(configs / "unet", local_files_only=True)["cross_attention_dim"])
