"""An IP-Adapter file of an operator: the published layout, checked layer by layer against the UNet it is for."""

import shutil
from pathlib import Path

from model_store.errors import WrongKeys
from model_store.load.header import Header, read_header
from model_store.load.ip_adapter import adapter_shapes, text_width

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
