"""A base model of an operator as a folder that diffusers wrote: what of it is taken, and from which files."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from model_store.add.links import plain_file
from model_store.catalogue.entry import Base
from model_store.errors import BadCheckpoint, MalformedFile, NotInstalled, WrongKeys
from model_store.load.base import PARTS, TOKENIZERS, check_base
from model_store.load.shards import NAMES, read_index, refuse_missing

TEXT = frozenset({".json", ".txt", ".jinja"})
INDEX = "model_index.json"
SCHEDULER = "scheduler/scheduler_config.json"
_VARIANT = re.compile(rf"({'|'.join(NAMES)})(\.\w+)?\.safetensors")
_VARIANT_INDEX = re.compile(rf"({'|'.join(NAMES)})\.safetensors\.index(\.\w+)?\.json")
FLUX_TOOLS: Mapping[str, Base] = {"FluxFillPipeline": "flux-fill", "FluxControlPipeline": "flux-control"}
KLEIN: Mapping[str, bool] = {"Flux2KleinPipeline": False, "Flux2KleinKVPipeline": True}
"""FLUX.2's pipelines, and whether the model is distilled where the folder does not say."""
_PREDICTIONS = frozenset({"epsilon", "v_prediction", "sample"})


def prepare_folder(source: Path, target: Path) -> Base:
    """Copy the parts of a diffusers folder that are used; return its architecture.

    Only safetensors, JSON and text files are taken, and no links but those of the hub's cache. Where weights lie in
    files of a variant alone, as fp16, that one is taken. Raises BadCheckpoint's kinds, NotInstalled for a part that is
    missing.
    """
    base = base_of_folder(source)
    target.mkdir(parents=True)
    for folder in (*PARTS[base], *TOKENIZERS[base], "scheduler"):
        if not (source / folder).is_dir():
            raise NotInstalled(f"{source}/{folder} is missing")
        for file in sorted((source / folder).iterdir()):
            if file.suffix in TEXT and not file.name.startswith(".") and not _VARIANT_INDEX.fullmatch(file.name):
                copy_file(file, target / folder / file.name, source)
        for name, file in (_weights(source / folder, source) if folder in PARTS[base] else {}).items():
            copy_file(file, target / folder / name, source)
    copy_file(source / INDEX, target / INDEX, source)
    check_base(target, base)
    if "unet" in PARTS[base]:
        check_noise_levels(target / SCHEDULER)
    return base


def copy_file(file: Path, target: Path, source: Path) -> None:
    """Copy a file of the folder `source`. Raises NotInstalled, MalformedFile."""
    real = plain_file(file, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(real, target)


def _weights(folder: Path, source: Path) -> Mapping[str, Path]:
    """Return a component's files of weights by the names they get: those without a variant, or the only variant's."""
    found: dict[str, tuple[Path, re.Match[str]]] = {}
    for pattern in (_VARIANT, _VARIANT_INDEX):  # an index before a single file, the first stem before the others
        for file in sorted(folder.iterdir(), reverse=True):
            if match := pattern.fullmatch(file.name):
                found[match[2] or ""] = file, match
    if not found:
        refuse_missing(folder)
    if "" not in found and len(found) > 1:
        raise NotInstalled(f"{folder} holds the variants {', '.join(sorted(found))} but none without a name")
    file, match = found.get("") or next(iter(found.values()))
    if match.re is _VARIANT:
        return {f"{match[1]}.safetensors": file}
    shards = sorted(set(read_index(plain_file(file, source)).weight_map.values()))
    return {f"{match[1]}.safetensors.index.json": file, **{name: folder / name for name in shards}}


def base_of_folder(source: Path) -> Base:
    """Return the architecture of a diffusers folder: by its UNet's configuration, or by the pipeline it names.

    Raises BadCheckpoint.
    """
    if (source / "transformer").is_dir():
        return _base_of_transformer(source)
    file = source / "unet" / "config.json"
    try:
        config = json.loads(plain_file(file, source).read_bytes())
        blocks, extra = config["down_block_types"], config.get("addition_embed_type")
        inputs, width = config.get("in_channels", 4), config["cross_attention_dim"]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise MalformedFile(f"{file}: {fault!r}") from fault
    if inputs != 4 or width == 1024:
        raise BadCheckpoint(f"{file}: an inpainting, editing or SD2 model is not served")
    if extra == "text_time" and blocks == ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]:
        return "sdxl"
    if extra is None and blocks == ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]:
        return "sd15"
    raise BadCheckpoint(f"{file}: the UNet is built like neither SD1.5 nor SDXL")


def _base_of_transformer(source: Path) -> Base:
    """Return the architecture of a folder without a UNet by the pipeline that it names."""
    try:
        index = json.loads(plain_file(source / INDEX, source).read_bytes())
        config = json.loads(plain_file(source / "transformer" / "config.json", source).read_bytes())
        name, embeds_guidance = str(index["_class_name"]), bool(config.get("guidance_embeds", False))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise MalformedFile(f"{source}/{INDEX} or transformer/config.json: {fault!r}") from fault
    if name == "FluxPipeline":
        return "flux" if embeds_guidance else "flux-schnell"
    if name in KLEIN:
        return "flux2-klein" if index.get("is_distilled", KLEIN[name]) else "flux2-klein-base"
    if name in FLUX_TOOLS:
        return FLUX_TOOLS[name]
    raise BadCheckpoint(f"{source}/{INDEX}: a {name} is not served")


def check_noise_levels(file: Path) -> None:
    """Return when the samplers can run what a scheduler's configuration says. Raises WrongKeys."""
    config = json.loads(file.read_bytes())
    kind = config.get("prediction_type", "epsilon")
    if kind not in _PREDICTIONS:
        raise WrongKeys(f"{file}: prediction_type is {kind!r}; served are {', '.join(sorted(_PREDICTIONS))}")
    if config.get("rescale_betas_zero_snr") and kind == "epsilon":
        raise WrongKeys(f"{file}: rescale_betas_zero_snr is true, which takes v_prediction; prediction_type is epsilon")


def native_size(folder: Path) -> int | None:
    """Return the side, in pixels, of the pictures a base model was trained on, where its configuration tells."""
    part, scale = ("unet", 8) if (folder / "unet").is_dir() else ("vae", 1)  # in latents, in pixels
    sides = json.loads((folder / part / "config.json").read_bytes()).get("sample_size")
    side = scale * sides if isinstance(sides, int) else 0
    return side if 64 <= side <= 2048 else None
