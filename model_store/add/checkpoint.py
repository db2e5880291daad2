"""A base model of an operator as a single file in LDM names: written as a diffusers folder, with all it states."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.loaders.single_file_utils import SingleFileComponentError
from safetensors.torch import save_file

from model_store.add.folder import SCHEDULER, TEXT, check_noise_levels, copy_file
from model_store.add.stated import stated_scheduler, stated_side
from model_store.catalogue.entry import Base
from model_store.errors import BadCheckpoint, NotInstalled, WrongKeys
from model_store.load.base import PARTS, TOKENIZERS, check_base
from model_store.load.header import Header, read_header
from model_store.load.tensors import load_tensors

_PIPELINES = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16}
_UNET = "model.diffusion_model."
_INPUT = f"{_UNET}input_blocks.0.0.weight"
_BARE_CLIP = re.compile(
    r"^(cond_stage_model|conditioner\.embedders\.0)\.transformer\.(?=(embeddings|encoder|final_layer_norm)\.)"
)
"""Names of CLIP as merges of before transformers 4.31 have them: without text_model."""


def prepare_single_file(header: Header, target: Path, base: Base, configs: Path) -> None:
    """Write a checkpoint in LDM names as a diffusers folder; `configs` is a folder of its architecture with tokenizers.

    Numbers keep the type they have in the file; how the model predicts is written as the file states it, else as the
    folder says. Raises BadCheckpoint, WrongKeys and MalformedFile.
    """
    for name in ("model_index.json", *(f"{folder}/tokenizer_config.json" for folder in TOKENIZERS[base])):
        if not (configs / name).is_file():
            raise NotInstalled(f"{configs}/{name} is missing; run: stylize models pull {base}-tokenizer")
    first = header.tensors.get(_INPUT)
    if first is not None and first.shape[1:2] != [4]:
        raise BadCheckpoint(f"{header.file}: {_INPUT}: an inpainting, editing or SD2 model is not served")
    scheduler = stated_scheduler(header)
    bare = target.with_name("configs")
    for text in sorted(file for file in configs.rglob("*") if file.suffix in TEXT and not file.name.startswith(".")):
        copy_file(text, bare / text.relative_to(configs), configs)  # weights beside would fill gaps of the checkpoint
    _write(_with_published_names(header, target.with_name("renamed.safetensors")), target, base, bare)
    _update(target / SCHEDULER, scheduler)
    side = stated_side(header)
    _update(target / "unet" / "config.json", {} if side is None else {"sample_size": side // 8})
    check_base(target, base)
    check_noise_levels(target / SCHEDULER)


def _write(header: Header, target: Path, base: Base, bare: Path) -> None:
    """Write the pipeline that diffusers reads from the file into the folder `target`."""
    first = next(tensor for name, tensor in header.tensors.items() if name.startswith(_UNET))
    absent: dict[str, None] = {"safety_checker": None, "feature_extractor": None} if base == "sd15" else {}
    named = target.with_name("named.safetensors")  # diffusers goes by the name, which a blob of the hub's cache has not
    named.symlink_to(header.file.resolve())
    try:
        pipeline = _PIPELINES[base].from_single_file(
            str(named),
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


def _with_published_names(header: Header, renamed: Path) -> Header:
    """Return the header of the file, or of a copy that names the text encoder as diffusers knows it."""
    if not any(_BARE_CLIP.match(name) for name in header.tensors):
        return header
    tensors = load_tensors(header.file, rename=lambda name: _BARE_CLIP.sub(r"\1.transformer.text_model.", name))
    save_file(tensors, renamed, dict(header.metadata))
    return read_header(renamed)


def _require_filled(header: Header, pipeline: Any, base: Base) -> None:
    """Raise WrongKeys for a parameter that the checkpoint gave no value."""
    for part in PARTS[base]:
        for name, parameter in getattr(pipeline, part).named_parameters():
            if parameter.is_meta:
                raise WrongKeys(f"{header.file}: {part}: {name} (by its name in diffusers): missing")


def _update(file: Path, more: dict[str, Any]) -> None:
    """Set some values of a configuration file."""
    if more:
        file.write_text(json.dumps({**json.loads(file.read_bytes()), **more}, indent=2))
