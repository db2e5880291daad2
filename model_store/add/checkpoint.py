"""A base model of an operator: a single-file checkpoint in LDM names, or a folder that diffusers wrote."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.loaders.single_file_utils import SingleFileComponentError

from model_store.catalogue.entry import Base
from model_store.errors import BadCheckpoint, MalformedFile, NotInstalled, WrongKeys
from model_store.load.base import PARTS, TOKENIZERS
from model_store.load.component import check_component
from model_store.load.header import Header
from model_store.load.shards import weight_files

_TEXT = frozenset({".json", ".txt"})
_PIPELINES = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16}


def prepare_single_file(header: Header, target: Path, base: Base, configs: Path) -> None:
    """Write a checkpoint in LDM names as a diffusers folder; `configs` is a folder of its architecture with tokenizers.

    Numbers keep the type they have in the file. Raises WrongKeys and MalformedFile.
    """
    for name in ("model_index.json", *(f"{folder}/tokenizer_config.json" for folder in TOKENIZERS[base])):
        if not (configs / name).is_file():
            raise NotInstalled(f"{configs}/{name} is missing; run: stylize models pull {base}-tokenizer")
    bare = target.with_name("configs")
    _copy_texts(configs, bare)  # with weights beside it, the loader would fill gaps of the checkpoint from there
    first = next(tensor for name, tensor in header.tensors.items() if name.startswith("model.diffusion_model."))
    absent: dict[str, None] = {"safety_checker": None, "feature_extractor": None} if base == "sd15" else {}
    try:
        pipeline = _PIPELINES[base].from_single_file(
            str(header.file),
            config=str(bare),
            local_files_only=True,
            torch_dtype=_DTYPES.get(first.dtype, torch.float32),
            **absent,
        )
        _require_filled(header, pipeline, base)
        pipeline.save_pretrained(target, safe_serialization=True)
    except (
        SingleFileComponentError,
        ValueError,
        KeyError,
        RuntimeError,
        OSError,
        NotImplementedError,
        AttributeError,
    ) as fault:
        line = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
        raise WrongKeys(f"{header.file}: is no whole {base} checkpoint: {line}") from fault
    check_folder(target, base)


def _require_filled(header: Header, pipeline: Any, base: Base) -> None:
    """Raise WrongKeys for a parameter that the checkpoint gave no value."""
    for part in PARTS[base]:
        for name, parameter in getattr(pipeline, part).named_parameters():
            if parameter.is_meta:
                raise WrongKeys(f"{header.file}: {part}: {name} (by its name in diffusers): missing")


def prepare_folder(source: Path, target: Path) -> Base:
    """Copy the parts of a diffusers folder that are used; return its architecture.

    Only safetensors, JSON and text files are taken; links are refused. Raises BadCheckpoint's kinds, NotInstalled for
    a part that is missing.
    """
    base = base_of_folder(source)
    folders = [*PARTS[base], *TOKENIZERS[base], "scheduler"]
    target.mkdir(parents=True)
    for folder in folders:
        if not (source / folder).is_dir() or (source / folder).is_symlink():
            raise NotInstalled(f"{source}/{folder} is missing, or a link")
        weights = set(weight_files(source / folder)) if folder in PARTS[base] else set()
        for file in sorted((source / folder).iterdir()):
            if file in weights or (file.suffix in _TEXT and not file.name.startswith(".")):
                _copy(file, target / folder / file.name)
    _copy(source / "model_index.json", target / "model_index.json")
    check_folder(target, base)
    return base


def _copy_texts(source: Path, target: Path) -> None:
    for file in sorted(source.rglob("*")):
        if file.suffix in _TEXT:
            _copy(file, target / file.relative_to(source))


def _copy(file: Path, target: Path) -> None:
    if file.is_symlink() or not file.is_file():
        raise MalformedFile(f"{file}: is no plain file")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)


def base_of_folder(source: Path) -> Base:
    """Return the architecture of a diffusers folder by its UNet's configuration. Raises BadCheckpoint."""
    file = source / "unet" / "config.json"
    try:
        config = json.loads(file.read_bytes())
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


def check_folder(folder: Path, base: Base) -> None:
    """Return when every component's file has exactly the names and shapes its configuration asks for."""
    for part, kind in PARTS[base].items():
        check_component(folder / part, kind)


def native_size(folder: Path) -> int | None:
    """Return the side, in pixels, of the pictures a base model was trained on, where its configuration tells."""
    sides = json.loads((folder / "unet" / "config.json").read_bytes()).get("sample_size")
    side = 8 * sides if isinstance(sides, int) else 0
    return side if 64 <= side <= 2048 else None
