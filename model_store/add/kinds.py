"""What an operator's file is, told from its tensors' names and shapes alone."""

import re
from collections.abc import Mapping
from typing import Literal

from model_store.add.flux_lora import BLOCKS, base_of_flux_lora, is_flux
from model_store.catalogue.entry import Base
from model_store.errors import WrongKeys
from model_store.load.header import Header

FileKind = Literal["checkpoint", "lora", "ip-adapter"]

_LDM = "model.diffusion_model."
_ADAPTER = ("image_proj.", "ip_adapter.")
_FACE = re.compile(r"_lora\.(down|up)\.|^image_proj\.perceiver_resampler\.")
_FACE_ALONE = frozenset({"image_proj.proj.0.weight", "image_proj.norm.weight"})
"""What FaceID has beside an IP-Adapter: LoRAs, and a projection of a face's embedding."""
_LORA = re.compile(
    r"(^lora_(unet|te\d?|transformer)_|\.lora_([AB]|down|up)\.|[._]lora(_linear_layer|\d)?\.(down|up)\.)"
)
_CROSS = re.compile(r"attn2(\.processor)?[._]to_[kv]([._]lora)?[._](lora_)?(A|down)(\.default)?\.weight$")
_BY_WIDTH: Mapping[int, Base] = {768: "sd15", 2048: "sdxl"}
_FOREIGN = {
    "FLUX": BLOCKS,
    "Stable Diffusion 3": re.compile(r"joint_blocks[._]"),
}


def kind_of(header: Header) -> FileKind:
    """Return what a safetensors file holds. Raises WrongKeys when it is nothing that can be added."""
    names = header.tensors.keys()
    lora = any(_LORA.search(name) for name in names)
    if lora and is_flux(header):
        return "lora"
    for family, pattern in _FOREIGN.items():
        if any(pattern.search(name) for name in names):
            raise WrongKeys(f"{header.file}: is made for {family}, which cannot be added")
    if any(name.startswith(_LDM) for name in names):
        return "checkpoint"
    if any(name.startswith(_ADAPTER) for name in names):
        _refuse_other_adapters(header)
        return "ip-adapter"
    if lora:
        return "lora"
    some = ", ".join(sorted(names)[:3])
    raise WrongKeys(f"{header.file}: neither a checkpoint, a LoRA nor an IP-Adapter; it holds {some} ...")


def _refuse_other_adapters(header: Header) -> None:
    """Raise WrongKeys for adapters that are laid out like an IP-Adapter but read something else than a CLIP image."""
    names = sorted(header.tensors)
    alone = min(_FACE_ALONE) if header.tensors.keys() >= _FACE_ALONE else None
    if face := next((name for name in names if _FACE.search(name)), alone):
        raise WrongKeys(f"{header.file}: {face}: is an IP-Adapter FaceID, which reads faces; that is not served")


def base_of_width(header: Header, width: int) -> Base:
    """Return the architecture whose text has `width` channels. Raises WrongKeys."""
    base = _BY_WIDTH.get(width)
    if base is None:
        served = " or ".join(f"{known} ({name})" for known, name in _BY_WIDTH.items())
        raise WrongKeys(f"{header.file}: made for a text width of {width}; served are {served}")
    return base


def base_of_checkpoint(header: Header) -> Base:
    """Return the architecture of a single-file checkpoint. Raises WrongKeys."""
    names = header.tensors.keys()
    if any(name.startswith("conditioner.embedders.1.") for name in names):
        return "sdxl"
    if any(name.startswith("cond_stage_model.transformer.") for name in names):
        return "sd15"
    raise WrongKeys(f"{header.file}: has the text encoder of neither SD1.5 nor SDXL")


def base_of_lora(header: Header) -> Base:
    """Return the architecture a LoRA was trained on. Raises WrongKeys when its names do not tell."""
    if is_flux(header):
        return base_of_flux_lora(header)
    for name, tensor in header.tensors.items():
        if _CROSS.search(name) and len(tensor.shape) == 2:
            return base_of_width(header, tensor.shape[1])
    if any(name.startswith(("lora_te2_", "text_encoder_2.")) for name in header.tensors):
        return "sdxl"
    raise WrongKeys(f"{header.file}: no cross-attention in it tells the base model; say which with --base")
