"""A trained style, or the statistics of a style set, as a folder: checked by names and headers, copied as it is.

style.json                              what the style was trained on; without it, the folder is statistics alone
statistic_type.txt, stats.safetensors   statistics in the published format
pytorch_lora_weights.safetensors        the tuned weights as a LoRA, or
diffusion_pytorch_model.safetensors     tuned weights of the UNet, all or some of them
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import UNet2DConditionModel
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from model_store.add import lora
from model_store.add.links import plain_file
from model_store.catalogue.entry import Base
from model_store.configs import config_folder
from model_store.errors import BadCheckpoint, MalformedFile, NotInstalled, WrongKeys
from model_store.load.component import empty_component
from model_store.load.header import read_header
from model_store.load.lora import WEIGHTS
from model_store.load.tensors import load_tensors

FACTS, KIND, STATISTICS = "style.json", "statistic_type.txt", "stats.safetensors"
TUNED = "diffusion_pytorch_model.safetensors"
KEYS: Mapping[str, frozenset[str]] = {
    "pixel": frozenset({"mean_pixels", "var_pixels"}),
    "dct+pixel": frozenset({"mean_lf_components", "cov_lf_components", "mean_hf_remainder", "var_hf_remainder"}),
}
UNetBase = Literal["sd15", "sdxl"]
"""The architectures that styles are trained on: a tuned UNet, or statistics of its latents."""
LATENT = 8
"""Pixels per latent cell along a side, in every base model served."""


class StyleFacts(BaseModel):
    """What a style was trained on."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    base: UNetBase
    model: str = ""
    width: PositiveInt | None = None
    height: PositiveInt | None = None


def is_style(source: Path) -> bool:
    """Return whether a folder claims to be a trained style or statistics."""
    return any((source / name).exists() for name in (FACTS, STATISTICS))


def prepare_style(source: Path, target: Path, base: Base | None) -> Base | None:
    """Write the style or statistics of a folder to the folder `target`, checked; return the architecture.

    Statistics alone fit every architecture of their size. Raises NotInstalled for a file that is missing,
    MalformedFile, and WrongKeys naming file and key.
    """
    target.mkdir(parents=True)
    kind, shape = _statistics(source)
    _copy(source / KIND, target)
    _copy(source / STATISTICS, target)
    if not (source / FACTS).exists():
        return base
    facts = _facts(source / FACTS)
    if base not in (None, facts.base):
        raise BadCheckpoint(f"{source / FACTS}: the style was trained on {facts.base}, not on {base}")
    if kind != "pixel":
        raise BadCheckpoint(f"{source / KIND}: a trained style has pixel statistics, not {kind}")
    for side, cells in ((facts.height, shape[-2]), (facts.width, shape[-1])):
        if side is not None and side // LATENT != cells:
            raise WrongKeys(f"{source / STATISTICS}: mean_pixels: has shape {shape}, not of {side} pixels on a side")
    _copy(source / FACTS, target)
    _prepare_tuned(source, target, facts.base)
    return facts.base


def _facts(file: Path) -> StyleFacts:
    try:
        return StyleFacts.model_validate_json(_plain(file).read_bytes())
    except ValidationError as fault:
        first = fault.errors()[0]
        raise MalformedFile(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from fault


def _statistics(source: Path) -> tuple[str, list[int]]:
    """Return the kind of the statistics and the shape of the first tensor, all checked."""
    file, kind = source / STATISTICS, _plain(source / KIND).read_bytes()[:100].decode("ascii", "replace").strip()
    if kind not in KEYS:
        raise MalformedFile(f"{source / KIND}: statistics of type {kind!r}; known are {', '.join(KEYS)}")
    header = read_header(_plain(file))
    for name in sorted(header.tensors.keys() ^ KEYS[kind]):
        raise WrongKeys(f"{file}: {name}: {'missing' if name in KEYS[kind] else 'not part of such statistics'}")
    shape = header.tensors[min(KEYS[kind])].shape
    if kind == "pixel" and (len(shape) != 3 or header.tensors["var_pixels"].shape != shape):
        raise WrongKeys(f"{file}: mean_pixels and var_pixels: must have one shape (channels, height, width)")
    for name, tensor in load_tensors(file).items():
        if not torch.isfinite(tensor.float()).all():
            raise WrongKeys(f"{file}: {name}: has values that are not finite")
        if name == "var_pixels" and (tensor.float() < 0).any():
            raise WrongKeys(f"{file}: {name}: has negative values, which no variance has")
    return kind, shape


def _prepare_tuned(source: Path, target: Path, base: Base) -> None:
    """Copy the tuned weights, as a LoRA or as weights of the UNet."""
    as_lora, as_weights = source / WEIGHTS, source / TUNED
    if as_lora.exists():
        lora.prepare_lora(_plain(as_lora), target)
        return
    if not as_weights.exists():
        raise NotInstalled(f"{source} holds no tuned weights: {WEIGHTS} or {TUNED} is needed")
    unet: Any = empty_component(config_folder(base) / "unet", UNet2DConditionModel)
    for name in sorted(read_header(_plain(as_weights)).tensors.keys() - unet.state_dict().keys()):
        raise WrongKeys(f"{as_weights}: {name}: the UNet of {base} has no such tensor")
    _copy(as_weights, target)


def _plain(file: Path) -> Path:
    """Return the file, or what a link of the hub's cache leads to. Raises NotInstalled, MalformedFile."""
    return plain_file(file, file.parent)


def _copy(file: Path, target: Path) -> None:
    shutil.copyfile(_plain(file), target / file.name)
