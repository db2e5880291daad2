"""From a diffusers folder to a base model: which architecture it holds, and its weights on a device."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from diffusers import Flux2KleinPipeline, FluxPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import nn

from model_store.catalogue.entry import Base
from model_store.errors import ModelStoreError
from model_store.load.base import load_base
from workers.engine.backbones.flux import Flux
from workers.engine.backbones.flux2 import Flux2, Flux2KV
from workers.engine.backbones.pipeline import PipelineBackbone
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.errors import ModelUnusable
from workers.engine.residency.placement import HOST, TRANSFORMER, PartPlacement, WeightStorage
from workers.engine.residency.plan import part_devices, part_keys
from workers.engine.residency.shared_parts import SharedParts
from workers.engine.residency.weight_storage import store_weights


def _sd15_settings(_: Mapping[str, Any]) -> dict[str, Any]:
    return {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def _sdxl_settings(index: Mapping[str, Any]) -> dict[str, Any]:
    zeros = bool(index.get("force_zeros_for_empty_prompt", True))
    return {"add_watermarker": False, "force_zeros_for_empty_prompt": zeros}


def _flux_settings(_: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def _flux2_settings(index: Mapping[str, Any]) -> dict[str, Any]:
    return {"is_distilled": bool(index.get("is_distilled", False))}


def _flux2_kv_settings(index: Mapping[str, Any]) -> dict[str, Any]:
    return {"is_distilled": bool(index.get("is_distilled", True))}


Settings = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Returns what a pipeline is told beside its parts, of those that are not used too, from the folder's index file."""


@dataclass(frozen=True)
class Architecture:
    """How a diffusers folder becomes a backbone; `other` is the base of a pipeline that `is_other` holds for.

    Both forms have the same parts.
    """

    base: Base
    backbone: type[PipelineBackbone]
    pipeline: Any
    settings: Settings
    other: Base | None = None
    is_other: Callable[[Any], bool] = lambda pipe: False

    def base_of(self, pipe: Any) -> Base:
        """Return which of the two forms a pipeline is."""
        return self.other if self.other is not None and self.is_other(pipe) else self.base


def _takes_no_guidance(pipe: Any) -> bool:
    return not pipe.transformer.config.guidance_embeds


def _is_not_distilled(pipe: Any) -> bool:
    return not pipe.config.is_distilled


ARCHITECTURES: dict[str, Architecture] = {
    "StableDiffusionPipeline": Architecture("sd15", StableDiffusion, StableDiffusionPipeline, _sd15_settings),
    "StableDiffusionXLPipeline": Architecture("sdxl", StableDiffusion, StableDiffusionXLPipeline, _sdxl_settings),
    "FluxPipeline": Architecture("flux", Flux, FluxPipeline, _flux_settings, "flux-schnell", _takes_no_guidance),
    "FluxFillPipeline": Architecture("flux-fill", Flux, FluxPipeline, _flux_settings),
    "FluxControlPipeline": Architecture("flux-control", Flux, FluxPipeline, _flux_settings),
    "Flux2KleinPipeline": Architecture(
        "flux2-klein", Flux2, Flux2KleinPipeline, _flux2_settings, "flux2-klein-base", _is_not_distilled
    ),
    "Flux2KleinKVPipeline": Architecture(
        "flux2-klein", Flux2KV, Flux2KleinPipeline, _flux2_kv_settings, "flux2-klein-base", _is_not_distilled
    ),
}
"""By the pipeline that a folder names. FLUX's differ in their loops, which is ours, and share the parts.

diffusers' own pipeline for cached keys of references puts its attention processors on the model for good.
"""


def load(
    folder: Path,
    *,
    name: str | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    vae: Path | None = None,
    weight_storage: WeightStorage = "full",
    encoders_on_host: bool = False,
    shared: SharedParts | None = None,
) -> PipelineBackbone:
    """Return the base model in a diffusers folder (model_index.json; safetensors only, never from the network).

    `dtype` defaults to bfloat16 on CUDA and float32 elsewhere. `vae` replaces the folder's VAE. Of `shared` are taken
    the parts, but for the denoiser, that were loaded of the same files. Raises ModelUnusable when the folder holds
    another architecture, or a file of it is missing or not exactly what its configuration asks for; the text names
    file and key.
    """
    index, known = _index(folder), architecture(folder)
    device = torch.device(device)
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    placement = PartPlacement(device, dtype, weight_storage, encoders_on_host)
    shared = shared or SharedParts()
    keys = {} if vae is not None else part_keys(folder, known.base, placement)
    places = part_devices(known.base, placement)
    with shared.lock:
        try:
            given = shared.loaded(keys)
            parts = load_base(
                folder, known.base, dtype=dtype, vae=vae, devices=_first_places(places, placement), given=given
            )
        except (ModelStoreError, OSError) as broken:
            raise ModelUnusable(f"{folder} cannot be loaded: {broken}") from broken
        if TRANSFORMER in parts:
            store_weights(parts[TRANSFORMER], weight_storage, dtype)
        shared.keep(keys, parts)
    pipe = known.pipeline(**parts, **known.settings(index))
    pipe.register_to_config(_name_or_path=str(folder))
    seen = fingerprint(folder, vae)
    backbone = wrap(pipe, known, name=name or folder.name, device=device, dtype=dtype, fingerprint=seen, places=places)
    backbone.note_residency(shared, weight_storage if TRANSFORMER in parts else "full", encoders_on_host)
    return backbone


def architecture(folder: Path) -> Architecture:
    """Return what a diffusers folder says it holds. Raises ModelUnusable for what is not run here."""
    name = _index(folder)["_class_name"]
    if name not in ARCHITECTURES:
        raise ModelUnusable(f"{folder} holds a {name}; usable are {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def _first_places(places: Mapping[str, torch.device], placement: PartPlacement) -> dict[str, torch.device]:
    """Return where parts are loaded to: a transformer whose weights are made smaller is, in main memory."""
    smaller = {TRANSFORMER: HOST} if placement.weight_storage != "full" and TRANSFORMER in places else {}
    return {**places, **smaller}


def wrap(
    pipe: Any,
    known: Architecture | None = None,
    *,
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    fingerprint: str,
    places: Mapping[str, torch.device] = MappingProxyType({}),
) -> PipelineBackbone:
    """Return a diffusers pipeline, its VAE in float32, as a backbone: frozen, on the device or in the parts' places."""
    known = known or ARCHITECTURES[type(pipe).__name__]
    pipe.set_progress_bar_config(disable=True)
    for part_name, part in pipe.components.items():
        if isinstance(part, nn.Module):
            part.to(places.get(part_name, device)).eval().requires_grad_(False)
    return known.backbone(pipe, name=name, base=known.base_of(pipe), fingerprint=fingerprint, dtype=dtype)


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
