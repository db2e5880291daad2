"""A LoRA of an operator, by whatever names: checked, so that a job loads it whole."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError
from safetensors.torch import save_file

from model_store.add.flux_lora import check_flux_lora, is_flux
from model_store.add.links import plain_file
from model_store.catalogue.entry import Base
from model_store.errors import BadCheckpoint, MalformedFile, WrongKeys
from model_store.load.base import FLUX
from model_store.load.header import Header, read_header
from model_store.load.lora import MOST_RANK, WEIGHTS
from model_store.load.pickles import PICKLED
from model_store.load.tensors import load_tensors

NAMES = ("adapter_model.safetensors", WEIGHTS)
"""What peft and diffusers call a LoRA's file in a folder of its own."""
SIZE_LIMIT = 4 << 30
_PEFT = "base_model.model."
_UNSUPPORTED = re.compile(r"dora_scale|lora_magnitude_vector|hada_w|lokr_w|\.oft_|lora_mid|\.diff(_b)?$|norm_w")
_DOWN = re.compile(r"(lora_down|lora_A(\.default)?|[._]down)\.weight$")
_KNOWN = re.compile(
    r"^(lora_(unet|te\d?)_.+\.(lora_down|lora_up)\.weight"
    r"|lora_(unet|te\d?)_.+\.alpha"
    r"|(unet|text_encoder(_2)?)\..+(\.lora_[AB](\.default)?\.weight|[._]lora(_linear_layer)?\.(down|up)\.weight|\.alpha)"
    r"|base_model\.model\..+\.lora_[AB](\.default)?\.weight)$"
)


_WITHOUT_EFFECT = re.compile(r"^(lora_te1?_|text_encoder\.|text_encoders\.clip_l\.transformer\.)text_projection\.")
"""What no base model reads: of the first text encoder the hidden states are taken, before its projection."""
_EXPLAINED = {
    re.compile(r"^(bundle_emb|emb_params)\b"): "holds embeddings that were trained with it, which are not served",
    re.compile(r"text_projection"): "changes the projection of the second text encoder, which is not served",
}


class AdapterConfig(BaseModel):
    """The part of peft's adapter_config.json that changes the numbers."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    r: PositiveInt
    lora_alpha: PositiveFloat
    use_rslora: bool = False
    use_dora: bool = False
    rank_pattern: dict[str, int] = {}
    alpha_pattern: dict[str, float] = {}


def prepare_lora(source: Path, target: Path, base: Base | None = None) -> str:
    """Write the LoRA `source` (a file, or peft's folder) to the folder `target`, checked; return what to know of it.

    `base` is the architecture, where it is told. Raises MalformedFile, and WrongKeys naming the key, for a format that
    would be dropped or half loaded, for halves without their other half, for ranks that disagree and for values that
    are not finite.
    """
    file, config = _found(source)
    header = read_header(file)
    if header.data_bytes > SIZE_LIMIT:
        raise BadCheckpoint(f"{file}: larger than {SIZE_LIMIT} bytes; not a LoRA")
    idle = [name for name in header.tensors if _WITHOUT_EFFECT.match(name)]
    flux = base in FLUX if base is not None else is_flux(header)
    _check_names(
        replace(header, tensors={name: header.tensors[name] for name in header.tensors if name not in idle}), flux
    )
    for name, shape in ((name, tensor.shape) for name, tensor in header.tensors.items() if _DOWN.search(name)):
        if len(shape) < 2 or not 1 <= shape[0] <= MOST_RANK:
            raise WrongKeys(f"{file}: {name}: has rank {shape[0] if shape else 0}; 1 to {MOST_RANK} can be used")
    tensors = {name: _wide(tensor) for name, tensor in load_tensors(file).items() if name not in idle}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise WrongKeys(f"{file}: {name}: has values that are not finite, or no floating ones")
    _check_pairs(file, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    if any(name.startswith(_PEFT) for name in tensors):
        tensors = _from_peft(file, tensors, config, "transformer" if flux else "unet")
    target.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, target / WEIGHTS, dict(header.metadata))
    return f"{idle[0]} was left aside: no base model reads the projection of its first text encoder" if idle else ""


def _check_names(header: Header, flux: bool) -> None:
    """Raise WrongKeys for a tensor that would not be loaded, or not as it is meant."""
    for name in header.tensors:
        if reason := next((text for pattern, text in _EXPLAINED.items() if pattern.search(name)), None):
            raise WrongKeys(f"{header.file}: {name}: {reason}")
        if _UNSUPPORTED.search(name) or not (flux or _KNOWN.match(name)):
            raise WrongKeys(
                f"{header.file}: {name}: of a kind that would not be loaded (DoRA, LoHa, LoKr, full weights ...)"
            )
    if flux:
        check_flux_lora(header)
    elif is_flux(header):
        raise WrongKeys(f"{header.file}: is made for FLUX.1")


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of 8-bit floating numbers as float32, any other as it is."""
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 1 else tensor


def _found(source: Path) -> tuple[Path, AdapterConfig | None]:
    """Return the file of weights and, for a folder that peft wrote, its configuration."""
    if not source.is_dir():
        return source, None
    file = next((source / name for name in NAMES if (source / name).exists()), None)
    if file is None:
        raise BadCheckpoint(f"{source}: this folder holds no model that can be added: {_seen(source)}")
    described = source / "adapter_config.json"
    try:
        given = plain_file(described, source).read_bytes() if described.exists() else None
        config = AdapterConfig.model_validate_json(given) if given is not None else None
    except (ValidationError, ValueError) as fault:
        raise MalformedFile(f"{described}: {fault}") from fault
    if config is not None and (config.use_dora or config.use_rslora or config.rank_pattern or config.alpha_pattern):
        raise WrongKeys(f"{described}: DoRA, rank-stabilised and per-layer ranks are not supported")
    return plain_file(file, source), config


def _seen(source: Path) -> str:
    """Return what a folder without a model holds, and what to name in its place."""
    files = sorted(file.name for file in source.iterdir() if file.suffix.lower() in {".safetensors", *PICKLED})
    if files:
        return f"name one of its files: {', '.join(files[:3])}"
    if (source / "snapshots").is_dir():
        return "it is of the hub's cache: name a folder below snapshots"
    return f"no model_index.json of diffusers, no style.json, no {' or '.join(NAMES)}"


def _check_pairs(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Every down projection has its up projection with the same rank, and the other way round."""
    for name, shape in shapes.items():
        down = re.sub(r"lora_B(?=\.)", "lora_A", name).replace("lora_up.", "lora_down.").replace(".up.", ".down.")
        up = re.sub(r"lora_A(?=\.)", "lora_B", name).replace("lora_down.", "lora_up.").replace(".down.", ".up.")
        if down == up:
            continue
        other = up if name == down else down
        if other not in shapes:
            raise WrongKeys(f"{file}: {other}: missing")
        if len(shape) not in (2, 4) or shapes[down][0] != shapes[up][1]:
            raise WrongKeys(f"{file}: {name}: ranks of {list(shapes[down])} and {list(shapes[up])} disagree")


def _from_peft(
    file: Path, tensors: Mapping[str, torch.Tensor], config: AdapterConfig | None, part: str
) -> dict[str, torch.Tensor]:
    """Rename peft's own names to the denoiser's of diffusers; fold alpha / rank into B, which diffusers takes as 1."""
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if not name.startswith(_PEFT):
            raise WrongKeys(f"{file}: {name}: peft names and others are mixed")
        short = name.removeprefix(_PEFT).replace(".default.", ".")
        scale = config.lora_alpha / config.r if config is not None and ".lora_B." in short else 1.0
        renamed[f"{part}.{short}"] = tensor * scale if scale != 1.0 else tensor
    return renamed
