"""An IP-Adapter file of an operator: the published layout, checked layer by layer against the UNet it is for."""

import shutil
from functools import cache
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel

from model_store.errors import WrongKeys
from model_store.load.component import empty_component
from model_store.load.header import Header, read_header

WEIGHTS = "ip_adapter.safetensors"
_BASE = frozenset({"proj.weight", "proj.bias", "norm.weight", "norm.bias"})
_PLUS = frozenset({"latents", "proj_in.weight", "proj_in.bias", "proj_out.weight", "proj_out.bias"})


def width_of(header: Header) -> int:
    """Return the width of the tokens an adapter takes. Raises WrongKeys."""
    tensor = header.tensors.get("ip_adapter.1.to_k_ip.weight")
    if tensor is None or len(tensor.shape) != 2:
        raise WrongKeys(f"{header.file}: ip_adapter.1.to_k_ip.weight: missing")
    return tensor.shape[1]


def prepare_ip_adapter(source: Path, target: Path, configs: Path) -> None:
    """Copy the checked adapter into the folder `target`. `configs` is the folder of the base model it is for.

    Raises MalformedFile, or WrongKeys naming file and key.
    """
    header = read_header(source)
    found = {name: tensor.shape for name, tensor in header.tensors.items()}
    expected = adapter_shapes(configs)
    for name, shape in found.items():
        if not name.startswith(("image_proj.", "ip_adapter.")):
            raise WrongKeys(f"{source}: {name}: not part of an IP-Adapter")
        if name.startswith("ip_adapter.") and shape != expected.get(name):
            raise WrongKeys(f"{source}: {name}: has shape {shape}, the UNet needs {expected.get(name)}")
    missing = sorted(expected.keys() - found.keys())
    if missing:
        raise WrongKeys(f"{source}: {missing[0]} and {len(missing) - 1} more: missing")
    _check_projection(source, found, text_width(configs))
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target / WEIGHTS)


def _check_projection(source: Path, found: dict[str, list[int]], width: int) -> None:
    """The image projection is the base or the plus kind and makes tokens as wide as the UNet's text."""
    names = {name.removeprefix("image_proj.") for name in found if name.startswith("image_proj.")}
    if names == _BASE:
        key = "image_proj.norm.weight"
    elif names >= _PLUS:
        key = "image_proj.proj_out.weight"
    else:
        raise WrongKeys(f"{source}: image_proj: neither the base nor the plus layout")
    if found[key][0] != width:
        raise WrongKeys(f"{source}: {key}: makes tokens {found[key][0]} wide, the UNet takes {width}")


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
