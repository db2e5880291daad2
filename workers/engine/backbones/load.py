"""From a diffusers folder to a base model: which architecture it holds, and its weights on a device."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import nn

from model_store.catalogue.entry import Base
from model_store.errors import ModelStoreError
from model_store.load.base import load_base
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.errors import ModelUnusable


def _sd15_settings(_: Mapping[str, Any]) -> dict[str, Any]:
    return {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def _sdxl_settings(index: Mapping[str, Any]) -> dict[str, Any]:
    zeros = bool(index.get("force_zeros_for_empty_prompt", True))
    return {"add_watermarker": False, "force_zeros_for_empty_prompt": zeros}


Settings = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Returns what a pipeline is told beside its parts, of those that are not used too, from the folder's index file."""
PIPELINES: dict[str, tuple[Base, Any, Settings]] = {
    "StableDiffusionPipeline": ("sd15", StableDiffusionPipeline, _sd15_settings),
    "StableDiffusionXLPipeline": ("sdxl", StableDiffusionXLPipeline, _sdxl_settings),
}


def load(
    folder: Path,
    *,
    name: str | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    vae: Path | None = None,
) -> StableDiffusion:
    """Return the base model in a diffusers folder (model_index.json; safetensors only, never from the network).

    `dtype` defaults to bfloat16 on CUDA and float32 elsewhere. `vae` replaces the folder's VAE. Raises ModelUnusable
    when the folder holds no Stable Diffusion 1.5 or SDXL model, or a file of it is missing or not exactly what its
    configuration asks for; the text names file and key.
    """
    index = _index(folder)
    if index["_class_name"] not in PIPELINES:
        raise ModelUnusable(f"{folder} holds a {index['_class_name']}; SD1.5 and SDXL pipelines can be used")
    base, pipeline, settings = PIPELINES[index["_class_name"]]
    device = torch.device(device)
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    try:
        parts = load_base(folder, base, device=device, dtype=dtype, vae=vae)
    except (ModelStoreError, OSError) as broken:
        raise ModelUnusable(f"{folder} cannot be loaded: {broken}") from broken
    pipe = pipeline(**parts, **settings(index))
    pipe.register_to_config(_name_or_path=str(folder))
    return wrap(pipe, name=name or folder.name, device=device, dtype=dtype, fingerprint=fingerprint(folder, vae))


def wrap(pipe: Any, *, name: str, device: torch.device, dtype: torch.dtype, fingerprint: str) -> StableDiffusion:
    """Return a diffusers pipeline, its VAE in float32, as a backbone: frozen and on the device."""
    base, *_ = PIPELINES[type(pipe).__name__]
    pipe.to(device)
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            part.eval().requires_grad_(False)
    return StableDiffusion(pipe, name=name, base=base, fingerprint=fingerprint, dtype=dtype)


def fingerprint(folder: Path, *others: Path | None) -> str:
    """Return a name for the weights in folders: their files' paths, sizes, times of change, and all configurations."""
    seen = hashlib.sha256()
    for root in (folder, *(other for other in others if other is not None)):
        for path in sorted(root.rglob("*")):
            if path.suffix == ".json":
                seen.update(path.read_bytes())
            elif path.suffix == ".safetensors":
                facts = path.stat()
                seen.update(f"{path.relative_to(root)}:{facts.st_size}:{facts.st_mtime_ns}".encode())
    return seen.hexdigest()


def _index(folder: Path) -> dict[str, Any]:
    """Return what a diffusers folder says of itself: `_class_name` and the pipeline's own settings."""
    try:
        found = json.loads((folder / "model_index.json").read_bytes())
        return {**found, "_class_name": str(found["_class_name"])}
    except (OSError, ValueError, KeyError, TypeError) as missing:
        raise ModelUnusable(f"{folder} is not a diffusers model folder: {missing}") from missing
