"""LoRAs for the tiny FLUX.1, one change of its weights in the layouts that training tools write it in."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.support.tiny.flux import DOUBLE_BLOCKS, INNER, SINGLE_BLOCKS

RANK, ALPHA = 4, 6.0
QKV = ("to_q", "to_k", "to_v")
ADDED = ("add_q_proj", "add_k_proj", "add_v_proj")
ATTENTION = {
    "double_blocks.{}.img_attn.qkv": tuple(f"transformer_blocks.{{}}.attn.{name}" for name in QKV),
    "double_blocks.{}.txt_attn.qkv": tuple(f"transformer_blocks.{{}}.attn.{name}" for name in ADDED),
    "double_blocks.{}.img_attn.proj": ("transformer_blocks.{}.attn.to_out.0",),
    "double_blocks.{}.txt_attn.proj": ("transformer_blocks.{}.attn.to_add_out",),
    "single_blocks.{}.linear1": (
        *(f"single_transformer_blocks.{{}}.attn.{name}" for name in QKV),
        "single_transformer_blocks.{}.proj_mlp",
    ),
    "single_blocks.{}.linear2": ("single_transformer_blocks.{}.proj_out",),
}
"""The authors' layers that every layout can change, with diffusers' of the same rows."""
OTHERS = {
    "double_blocks.{}.img_mod.lin": ("transformer_blocks.{}.norm1.linear",),
    "double_blocks.{}.txt_mlp.0": ("transformer_blocks.{}.ff_context.net.0.proj",),
    "double_blocks.{}.img_mlp.2": ("transformer_blocks.{}.ff.net.2",),
    "single_blocks.{}.modulation.lin": ("single_transformer_blocks.{}.norm.linear",),
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "vector_in.in_layer": ("time_text_embed.text_embedder.linear_1",),
    "guidance_in.out_layer": ("time_text_embed.guidance_embedder.linear_2",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
}
XLABS = {
    "img_attn.qkv": "processor.qkv_lora1",
    "txt_attn.qkv": "processor.qkv_lora2",
    "img_attn.proj": "processor.proj_lora1",
    "txt_attn.proj": "processor.proj_lora2",
    "linear1": "processor.qkv_lora",
    "linear2": "processor.proj_lora",
}
TEXT = {
    "text_encoder": "text_model.encoder.layers.{}.self_attn.q_proj",
    "text_encoder_2": "encoder.block.{}.layer.1.DenseReluDense.wo",
}
KOHYA_PARTS = {"text_encoder": "lora_te1", "text_encoder_2": "lora_te3"}
COMFYUI_PARTS = {"text_encoder": "text_encoders.clip_l", "text_encoder_2": "text_encoders.t5xxl"}


@dataclass(frozen=True)
class Fused:
    """What a layer of the authors' gets: diffusers' layers of its rows share the down half."""

    names: tuple[str, ...]
    down: Tensor
    ups: tuple[Tensor, ...]


@dataclass(frozen=True)
class FluxChange:
    """A change of rank RANK of the transformer, by the authors' layers, and of the text encoders, by diffusers'."""

    layers: dict[str, Fused]
    text: dict[str, dict[str, Fused]]

    def deltas(self) -> dict[str, dict[str, Tensor]]:
        """Return what is added to each weight of the pipeline's parts."""
        parts = {"transformer": self.layers, **self.text}
        return {part: dict(_deltas(layers)) for part, layers in parts.items()}


def _deltas(layers: Mapping[str, Fused]) -> Iterator[tuple[str, Tensor]]:
    for fused in layers.values():
        for name, up in zip(fused.names, fused.ups, strict=True):
            yield f"{name.removeprefix('text_model.')}.weight", ALPHA / RANK * up @ fused.down


def draw(pipe: Any, *, seed: int = 7, whole: bool = False) -> FluxChange:
    """Return a random change of the attention, or with `whole` of layers of every kind and of the text encoders.

    Of a single block's fused layer the MLP's rows are zero unless `whole`: one layout has no place for them.
    """
    chance = torch.Generator().manual_seed(seed)

    def fused(module: Any, names: tuple[str, ...]) -> Fused:
        shapes = [module.get_submodule(name.removeprefix("text_model.")).weight.shape for name in names]
        down = 0.1 * torch.randn(RANK, shapes[0][1], generator=chance)
        ups = (0.1 * torch.randn(shape[0], RANK, generator=chance) for shape in shapes)
        kept = (up * (whole or not name.endswith("proj_mlp")) for name, up in zip(names, ups, strict=True))
        return Fused(names, down, tuple(kept))

    layers = {
        theirs.format(number): fused(pipe.transformer, tuple(name.format(number) for name in ours))
        for theirs, ours in {**ATTENTION, **(OTHERS if whole else {})}.items()
        for number in _numbers(theirs)
    }
    text = {
        part: {name.format(number): fused(getattr(pipe, part), (name.format(number),)) for number in (0, 1)}
        for part, name in (TEXT.items() if whole else ())
    }
    return FluxChange(layers, text)


def _numbers(name: str) -> range:
    return range({"double": DOUBLE_BLOCKS, "single": SINGLE_BLOCKS}.get(name.split("_")[0], 1))


def write(layout: str, change: FluxChange, folder: Path) -> Path:
    """Write a change in a layout; return what `stylize models add` takes. XLabs and peft have no text encoders."""
    folder.mkdir(parents=True)
    tensors = {name: tensor.clone() for name, tensor in WRITERS[layout](change)}
    if layout == "peft":
        described = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA}
        (folder / "adapter_config.json").write_text(json.dumps(described))
        save_file(tensors, folder / "adapter_model.safetensors")
        return folder
    save_file(tensors, folder / "lora.safetensors")
    return folder / "lora.safetensors"


def _authors(change: FluxChange) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, down and up half of the authors' layers; their last modulation has shift before scale."""
    for name, fused in change.layers.items():
        up = torch.cat(fused.ups)
        yield name, fused.down, torch.cat(up.chunk(2)[::-1]) if "adaLN" in name else up


def _with_alpha(layer: str, down: Tensor, up: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield f"{layer}.lora_down.weight", down
    yield f"{layer}.lora_up.weight", up
    yield f"{layer}.alpha", torch.tensor(ALPHA)


def _without_alpha(layer: str, down: Tensor, up: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield f"{layer}.lora_A.weight", down
    yield f"{layer}.lora_B.weight", ALPHA / RANK * up


def _kohya(change: FluxChange) -> Iterator[tuple[str, Tensor]]:
    for name, down, up in _authors(change):
        yield from _with_alpha(f"lora_unet_{name.replace('.', '_')}", down, up)
    for part, layers in change.text.items():
        for name, fused in layers.items():
            yield from _with_alpha(f"{KOHYA_PARTS[part]}_{name.replace('.', '_')}", fused.down, fused.ups[0])


def _comfyui(change: FluxChange) -> Iterator[tuple[str, Tensor]]:
    for name, down, up in _authors(change):
        yield from _with_alpha(f"diffusion_model.{name}", down, up)
    for part, layers in change.text.items():
        for name, fused in layers.items():
            yield from _with_alpha(f"{COMFYUI_PARTS[part]}.transformer.{name}", fused.down, fused.ups[0])


def _bfl(change: FluxChange) -> Iterator[tuple[str, Tensor]]:
    for name, down, up in _authors(change):
        yield from _without_alpha(name, down, up)


def _xlabs(change: FluxChange) -> Iterator[tuple[str, Tensor]]:
    for name, down, up in _authors(change):
        stack, number, layer = name.split(".", 2)
        stem = f"{stack}.{number}.{XLABS[layer]}"
        yield f"{stem}.down.weight", down
        yield f"{stem}.up.weight", ALPHA / RANK * up[: 3 * INNER]


def _diffusers(change: FluxChange) -> Iterator[tuple[str, Tensor]]:
    for part, layers in {"transformer": change.layers, **change.text}.items():
        for fused in layers.values():
            for name, up in zip(fused.names, fused.ups, strict=True):
                yield from _without_alpha(f"{part}.{name}", fused.down, up)


def _peft(change: FluxChange) -> Iterator[tuple[str, Tensor]]:
    for fused in change.layers.values():
        for name, up in zip(fused.names, fused.ups, strict=True):
            yield f"base_model.model.{name}.lora_A.weight", fused.down
            yield f"base_model.model.{name}.lora_B.weight", up


WRITERS: dict[str, Callable[[FluxChange], Iterator[tuple[str, Tensor]]]] = {
    "kohya": _kohya,
    "comfyui": _comfyui,
    "bfl": _bfl,
    "xlabs": _xlabs,
    "diffusers": _diffusers,
    "peft": _peft,
}
