"""A base model's parts from its folder, as diffusers' pipelines take them: strict, local, safetensors only."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2Transformer2DModel,
    FluxTransformer2DModel,
    SchedulerMixin,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2TokenizerFast,
    T5EncoderModel,
    T5TokenizerFast,
)

from model_store.catalogue.entry import Base
from model_store.errors import MalformedFile, NotInstalled
from model_store.load.component import check_component, load_component
from model_store.load.qwen3 import Qwen3TextLayers

FLUX: tuple[Base, ...] = ("flux", "flux-schnell", "flux-fill", "flux-control")
FLUX2: tuple[Base, ...] = ("flux2-klein", "flux2-klein-base")
FLUX_PARTS: Mapping[str, type[Any]] = {
    "transformer": FluxTransformer2DModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": T5EncoderModel,
}
FLUX2_PARTS: Mapping[str, type[Any]] = {
    "transformer": Flux2Transformer2DModel,
    "vae": AutoencoderKLFlux2,
    "text_encoder": Qwen3TextLayers,
}
PARTS: Mapping[Base, Mapping[str, type[Any]]] = {
    "sd15": {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel},
    "sdxl": {
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
    },
    **dict.fromkeys(FLUX, FLUX_PARTS),
    **dict.fromkeys(FLUX2, FLUX2_PARTS),
}
TOKENIZERS: Mapping[Base, Mapping[str, type[Any]]] = {
    "sd15": {"tokenizer": CLIPTokenizer},
    "sdxl": {"tokenizer": CLIPTokenizer, "tokenizer_2": CLIPTokenizer},
    **{base: {"tokenizer": CLIPTokenizer, "tokenizer_2": T5TokenizerFast} for base in FLUX},
    **{base: {"tokenizer": Qwen2TokenizerFast} for base in FLUX2},
}


def load_base(
    folder: Path,
    base: Base,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    vae: Path | None = None,
    vae_dtype: torch.dtype | None = torch.float32,
    devices: Mapping[str, torch.device] = MappingProxyType({}),
    given: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return denoiser, VAE, text encoders, tokenizers and scheduler by the names diffusers' pipelines take them under.

    `vae` is the folder of another VAE. Weights go straight to `device`, or to what `devices` says of a part, in
    `dtype`, the VAE's in `vae_dtype`; parts that are `given` are not loaded. Raises NotInstalled, MalformedFile or
    WrongKeys, naming file and key.
    """
    parts: dict[str, Any] = {}
    for name, kind in PARTS[base].items():
        if name in given:
            parts[name] = given[name]
            continue
        where = vae if vae is not None and name == "vae" else folder / name
        place = devices.get(name, device)
        parts[name] = load_component(where, kind, device=place, dtype=vae_dtype if name == "vae" else dtype)
    for name, kind in TOKENIZERS[base].items():
        parts[name] = _tokenizer(folder / name, kind)
    return {**parts, "scheduler": _scheduler(folder / "scheduler", base)}


def check_base(folder: Path, base: Base) -> None:
    """Return when `load_base` can read all parts of a folder: weights are compared by name and shape alone.

    Raises NotInstalled, MalformedFile or WrongKeys, naming file and key.
    """
    for name, kind in PARTS[base].items():
        check_component(folder / name, kind)
    for name, kind in TOKENIZERS[base].items():
        _tokenizer(folder / name, kind)
    _scheduler(folder / "scheduler", base)


def _tokenizer(folder: Path, kind: Any) -> Any:
    if not folder.is_dir():
        raise NotInstalled(f"{folder} is missing")
    try:
        return kind.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as fault:
        raise MalformedFile(f"{folder}: {fault}") from fault


def _scheduler(folder: Path, base: Base) -> Any:
    """Return the scheduler that the folder's configuration names, of those that diffusers has and the model takes."""
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
    flows = isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
    if not (flows if base in (*FLUX, *FLUX2) else hasattr(scheduler, "alphas_cumprod")):
        raise MalformedFile(f"{file}: {name} has noise levels of another kind than {base} takes")
    return scheduler
