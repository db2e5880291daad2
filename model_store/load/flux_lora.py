"""The tensors of a LoRA of FLUX.1 by diffusers' layers, whatever tool named them.

Read here and not by diffusers' converters: those lose what they do not know (layers outside the blocks of kohya's
files and their alphas, T5, biases), and know one width of the model. A layer is named, after one of `PREFIXES`:

    double_blocks.0.img_attn.qkv            BFL and ComfyUI, by the authors' layers; kohya with underscores
    double_blocks.0.processor.qkv_lora1     XLabs
    transformer_blocks.0.attn.to_q          diffusers and peft; OneTrainer with underscores
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model_store.errors import WrongKeys
from model_store.load.flux_names import BLOCKS, DOUBLE, EXCHANGED, OUTER, SINGLE, Layers, exchanged

TRANSFORMER, CLIP, T5 = "transformer", "text_encoder", "text_encoder_2"
PREFIXES: Mapping[str, str] = {
    "text_encoder_2.": T5,
    "text_encoders.t5xxl.transformer.": T5,
    "lora_te3_": T5,
    "text_encoder.": CLIP,
    "text_encoders.clip_l.transformer.": CLIP,
    "lora_te1_": CLIP,
    "lora_te_": CLIP,
    "transformer.": TRANSFORMER,
    "diffusion_model.": TRANSFORMER,
    "base_model.model.": TRANSFORMER,
    "lora_unet_": TRANSFORMER,
    "lora_transformer_": TRANSFORMER,
    "": TRANSFORMER,
}
"""The part of the pipeline that a name's beginning says; the first that fits counts."""
_HALF = re.compile(
    r"(?P<layer>.+?)\.(?:lora_A|lora_B|(?:lora_|lora\.|lora_linear_layer\.)?(?:down|up))(?:\.default)?\.weight"
)
_UP = re.compile(r"(lora_B|up)(\.default)?\.weight$")
_XLABS_DOUBLE: Layers = {
    "processor.qkv_lora1": DOUBLE["img_attn.qkv"],
    "processor.qkv_lora2": DOUBLE["txt_attn.qkv"],
    "processor.proj_lora1": DOUBLE["img_attn.proj"],
    "processor.proj_lora2": DOUBLE["txt_attn.proj"],
}
_XLABS_SINGLE: Layers = {"processor.qkv_lora": SINGLE["linear1"][:3], "processor.proj_lora": SINGLE["linear2"]}
_CLIP = (*(f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")), "mlp.fc1", "mlp.fc2")
_T5 = (
    *(f"layer.0.SelfAttention.{name}" for name in "qkvo"),
    *(f"layer.1.DenseReluDense.{name}" for name in ("wi_0", "wi_1", "wo")),
)


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _theirs(layers: Layers) -> Layers:
    return {_flat(name): names for name, names in layers.items()}


def _own(layers: Layers) -> Layers:
    return {_flat(name): (name,) for names in layers.values() for name in names}


_OUTER = {**_theirs(OUTER), **_own(OUTER)}
_STACKS: Mapping[tuple[str, str], tuple[str, Layers]] = {
    (TRANSFORMER, "double_blocks"): (BLOCKS["double"], _theirs({**DOUBLE, **_XLABS_DOUBLE})),
    (TRANSFORMER, "single_blocks"): (BLOCKS["single"], _theirs({**SINGLE, **_XLABS_SINGLE})),
    (TRANSFORMER, "transformer_blocks"): (BLOCKS["double"], _own(DOUBLE)),
    (TRANSFORMER, "single_transformer_blocks"): (BLOCKS["single"], _own(SINGLE)),
    (CLIP, "text_model_encoder_layers"): ("text_model.encoder.layers", _own({"": _CLIP})),
    (CLIP, "encoder_layers"): ("text_model.encoder.layers", _own({"": _CLIP})),
    (T5, "encoder_block"): ("encoder.block", _own({"": _T5})),
}
"""Of a part's stack of layers, as its name is with underscores: diffusers' name, and the names in it."""
_IN_STACK = re.compile(r"(\D+)_([0-9]+)_(.+)")
_RATIOS = {
    "ff.net.0.proj": (4, 1),
    "ff_context.net.0.proj": (4, 1),
    "ff.net.2": (1, 4),
    "ff_context.net.2": (1, 4),
    "norm1.linear": (6, 1),
    "norm1_context.linear": (6, 1),
    "norm.linear": (3, 1),
    "proj_mlp": (4, 1),
    "proj_out": (1, 5),
}
"""Rows to columns of the layers in FLUX.1's blocks, whatever their width; those of attention are square."""
_IN_BLOCK = re.compile(r"(?:single_)?transformer_blocks\.\d+\.(.+)")


@dataclass(frozen=True)
class Place:
    """What a tensor of a LoRA belongs to: a part of the pipeline, and its layers as diffusers names them."""

    part: str
    layers: tuple[str, ...]
    up: bool
    exchanged: bool = False
    """Whether its rows are in the authors' order and not in diffusers'."""


def place_of(name: str) -> Place:
    """Return what a tensor of a LoRA belongs to. Raises WrongKeys, naming it, where FLUX.1 has no such layer."""
    half = _HALF.fullmatch(name)
    if half is None:
        raise WrongKeys(f"{name}: is no half of a LoRA")
    prefix = next(prefix for prefix in PREFIXES if half["layer"].startswith(prefix))
    part, flat = PREFIXES[prefix], _flat(half["layer"].removeprefix(prefix))
    layers = _layers(part, flat)
    if not layers:
        raise WrongKeys(f"{name}: FLUX.1 has no such layer")
    up = _UP.search(name) is not None
    return Place(part, layers, up, exchanged=up and layers == (EXCHANGED,) and flat.startswith("final_layer"))


def _layers(part: str, flat: str) -> tuple[str, ...]:
    """Return diffusers' layers of a name with underscores, none where there are none."""
    if part == TRANSFORMER and flat in _OUTER:
        return _OUTER[flat]
    found = _IN_STACK.fullmatch(flat)
    stack, layers = _STACKS.get((part, found[1]), ("", {})) if found else ("", {})
    return tuple(f"{stack}.{found[2]}.{name}" for name in layers.get(found[3], ())) if found else ()


def flux_halves(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return the halves of a LoRA by part and `<layer>.lora_A.weight` or `.lora_B.weight`, alphas being folded in.

    Of a layer of the authors' that is several of diffusers', these share the down half, and have each its rows of the
    up half. Raises WrongKeys naming the tensor.
    """
    found: dict[str, dict[str, Tensor]] = {TRANSFORMER: {}, CLIP: {}, T5: {}}
    for name, tensor in tensors.items():
        place = place_of(name)
        if tensor.ndim != 2:
            raise WrongKeys(f"{name}: has shape {list(tensor.shape)}; a half of a linear layer is a matrix")
        rows = exchanged(tensor) if place.exchanged else tensor
        pieces = _split(name, rows, place.layers) if place.up else [rows] * len(place.layers)
        for layer, piece in zip(place.layers, pieces, strict=True):
            key = f"{layer}.lora_{'B' if place.up else 'A'}.weight"
            if key in found[place.part]:
                raise WrongKeys(f"{name}: {place.part}.{key} stands in the file twice, by two names")
            found[place.part][key] = piece
    _check_ratios(found[TRANSFORMER])
    return found


def _split(name: str, rows: Tensor, layers: tuple[str, ...]) -> list[Tensor]:
    """Return the rows of each layer: the MLP of a single block has four times as many as queries, keys and values."""
    shares = [4 if layer.endswith("proj_mlp") else 1 for layer in layers]
    share, rest = divmod(rows.shape[0], sum(shares))
    if rest:
        raise WrongKeys(f"{name}: its {rows.shape[0]} rows are not FLUX.1's; it was made for another model")
    return list(torch.split(rows, [share * each for each in shares]))


def _check_ratios(halves: Mapping[str, Tensor]) -> None:
    """Raise WrongKeys for a layer of other proportions than FLUX.1's: relatives share its names (FLUX.2, Chroma)."""
    for key, up in halves.items():
        layer = key.removesuffix(".lora_B.weight")
        down, inside = halves.get(f"{layer}.lora_A.weight"), _IN_BLOCK.fullmatch(layer)
        if layer == key or down is None or inside is None:
            continue
        tall, wide = _RATIOS.get(inside[1], (1, 1))
        if up.shape[0] * wide != down.shape[1] * tall:
            shape = f"{up.shape[0]} x {down.shape[1]}"
            raise WrongKeys(f"{layer}: {shape} is not FLUX.1's {tall} to {wide}; it was made for another model")
