"""A base model's parts from its folder, as diffusers' pipelines take them: strict, local, safetensors only."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from model_store.catalogue.entry import Base
from model_store.errors import MalformedFile, NotInstalled
from model_store.load.component import check_component, load_component

PARTS: Mapping[Base, Mapping[str, type[Any]]] = {
    "sd15": {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel},
    "sdxl": {
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
    },
}
TOKENIZERS: Mapping[Base, tuple[str, ...]] = {"sd15": ("tokenizer",), "sdxl": ("tokenizer", "tokenizer_2")}


def load_base(
    folder: Path,
    base: Base,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    vae: Path | None = None,
    vae_dtype: torch.dtype | None = torch.float32,
) -> dict[str, Any]:
    """Return UNet, VAE, text encoders, tokenizers and scheduler by the names diffusers' pipelines take them under.

    `vae` is the folder of another VAE. Weights go straight to `device` in `dtype`, the VAE's in `vae_dtype`. Raises
    NotInstalled, MalformedFile or WrongKeys, naming file and key.
    """
    parts: dict[str, Any] = {}
    for name, kind in PARTS[base].items():
        where = vae if vae is not None and name == "vae" else folder / name
        parts[name] = load_component(where, kind, device=device, dtype=vae_dtype if name == "vae" else dtype)
    for name in TOKENIZERS[base]:
        parts[name] = _tokenizer(folder / name)
    return {**parts, "scheduler": _scheduler(folder / "scheduler")}


def check_base(folder: Path, base: Base) -> None:
    """Return when `load_base` can read all parts of a folder: weights are compared by name and shape alone.

    Raises NotInstalled, MalformedFile or WrongKeys, naming file and key.
    """
    for name, kind in PARTS[base].items():
        check_component(folder / name, kind)
    for name in TOKENIZERS[base]:
        _tokenizer(folder / name)
    _scheduler(folder / "scheduler")


def _tokenizer(folder: Path) -> CLIPTokenizer:
    if not folder.is_dir():
        raise NotInstalled(f"{folder} is missing")
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as fault:
        raise MalformedFile(f"{folder}: {fault}") from fault


def _scheduler(folder: Path) -> Any:
    """Return the scheduler that the folder's configuration names, of those that diffusers has."""
    file = folder / "scheduler_config.json"
    try:
        name = json.loads(file.read_bytes())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise MalformedFile(f"{file}: {fault!r}") from fault
    kind = getattr(diffusers, name, None) if isinstance(name, str) and name.endswith("Scheduler") else None
    if not isinstance(kind, type) or not issubclass(kind, SchedulerMixin):
        raise MalformedFile(f"{file}: {name!r} is no scheduler of diffusers")
    loader: Any = kind
    try:
        scheduler = loader.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, NotImplementedError) as fault:
        raise MalformedFile(f"{file}: {fault}") from fault
    if not hasattr(scheduler, "alphas_cumprod"):
        raise MalformedFile(f"{file}: {name} has noise levels of another kind than Stable Diffusion's")
    return scheduler
