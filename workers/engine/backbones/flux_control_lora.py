"""A control LoRA in the authors' layout as side branches of FLUX: y = W x + b + s (B A x + b_B), norms replaced.

diffusers' loader exchanges the halves of `norm_out` in A, too, and takes no quantised base; branches need neither, and
the weights are untouched. The map's latents are read beside the noisy ones: W of the first layer has no columns for
them, so it reads its own part. Queries, keys, values and the MLP of a block share one A, which runs once.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import linear

from workers.engine.backbones import patches
from workers.engine.backbones.flux import Flux
from workers.engine.errors import ModelUnusable

OUTER = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}
DOUBLE: dict[str, tuple[str, ...]] = {
    "img_mod.lin": ("norm1.linear",),
    "txt_mod.lin": ("norm1_context.linear",),
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
}
SINGLE: dict[str, tuple[str, ...]] = {
    "modulation.lin": ("norm.linear",),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
}
NORMS = {
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
    "norm.query_norm": "attn.norm_q",
    "norm.key_norm": "attn.norm_k",
}
BLOCK = re.compile(r"(double|single)_blocks\.(\d+)\.(.+)")
EXCHANGED = "norm_out.linear"
"""The authors' halves are shift and scale, diffusers' scale and shift."""


@dataclass(eq=False)
class LastDown:
    """The A x that ran last: the parts of one layer of the authors' follow each other, on the same tensor."""

    weight: Tensor | None = None
    x: Tensor | None = None
    output: Tensor | None = None

    def run(self, weight: Tensor, x: Tensor) -> Tensor:
        """Return A x, the one of before if it is the same."""
        if self.output is None or self.weight is not weight or self.x is not x:
            self.weight, self.x, self.output = weight, x, linear(x, weight)
        return self.output

    def forget(self) -> None:
        """Let go of the tensors."""
        self.weight = self.x = self.output = None


@dataclass(frozen=True)
class Branch:
    """What is added to one linear layer: its part of B and of B's bias, behind an A that it may share."""

    down: Tensor
    up: Tensor
    bias: Tensor


@dataclass(frozen=True)
class ControlLora:
    """Branches by the names of diffusers' layers, and the norms' scales that stand in place of the model's."""

    branches: Mapping[str, Branch]
    norms: Mapping[str, Tensor]


def read_control_lora(path: Path, backbone: Flux) -> ControlLora:
    """Return a control LoRA for a model, on its device. Raises ModelUnusable naming a key that is missing or unfit."""
    tensors = {name: tensor.to(backbone.device, backbone.dtype) for name, tensor in load_file(path).items()}
    branches: dict[str, Branch] = {}
    norms: dict[str, Tensor] = {}
    try:
        for key in sorted(name.removesuffix(".lora_A.weight") for name in tensors if name.endswith(".lora_A.weight")):
            branches |= _branches(key, tensors, backbone.denoiser)
        for key in (name.removesuffix(".scale") for name in tensors if name.endswith(".scale")):
            norms |= _norm(key, tensors[f"{key}.scale"], backbone.denoiser)
    except (KeyError, AttributeError, RuntimeError, ValueError) as unfit:
        raise ModelUnusable(f"{path} is no control LoRA of {backbone.name}: {unfit}") from unfit
    return ControlLora(branches, norms)


def _branches(key: str, tensors: Mapping[str, Tensor], model: Any) -> dict[str, Branch]:
    names = _layers(key)
    down = tensors[f"{key}.lora_A.weight"]
    sizes = [model.get_submodule(name).out_features for name in names]
    ups = tensors[f"{key}.lora_B.weight"].split(sizes)
    biases = tensors[f"{key}.lora_B.bias"].split(sizes)
    found = {name: Branch(down, up, bias) for name, up, bias in zip(names, ups, biases, strict=True)}
    if EXCHANGED in found:
        branch = found[EXCHANGED]
        found[EXCHANGED] = Branch(down, _exchanged(branch.up), _exchanged(branch.bias))
    return found


def _exchanged(rows: Tensor) -> Tensor:
    first, second = rows.chunk(2)
    return torch.cat([second, first])


def _layers(key: str) -> tuple[str, ...]:
    """Return diffusers' names of a layer of the authors', in the order of its outputs. Raises KeyError."""
    if (block := BLOCK.fullmatch(key)) is None:
        return (OUTER[key],)
    kind, number, part = block.groups()
    table, prefix = (DOUBLE, "transformer_blocks") if kind == "double" else (SINGLE, "single_transformer_blocks")
    return tuple(f"{prefix}.{number}.{name}" for name in table[part])


def _norm(key: str, scale: Tensor, model: Any) -> dict[str, Tensor]:
    if (block := BLOCK.fullmatch(key)) is None:
        raise KeyError(key)
    kind, number, part = block.groups()
    prefix = "transformer_blocks" if kind == "double" else "single_transformer_blocks"
    name = f"{prefix}.{number}.{NORMS[part]}.weight"
    if model.get_parameter(name).shape != scale.shape:
        raise ValueError(f"{key}: {tuple(scale.shape)} does not fit {name}")
    return {name: scale}


@contextmanager
def control_branches(backbone: Flux, lora: ControlLora, scale: float) -> Iterator[None]:
    """Run the model with the branches at a scale and the LoRA's norms; the weights stay the very same."""
    last = LastDown()
    layers = {backbone.denoiser.get_submodule(name): branch for name, branch in lora.branches.items()}

    def replacement(module: nn.Module) -> Callable[[Tensor], Tensor]:
        branch, own = layers[module], module.forward  # the layer's own, or what casts its weights around it

        def forward(x: Tensor) -> Tensor:
            kept = own(x[..., : module.in_features])
            added = linear(last.run(branch.down, x), branch.up, branch.bias)
            return kept + scale * added

        return forward

    def replaced(norm: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda own: norm.to(own)

    with ExitStack() as undone:
        undone.enter_context(
            patches.replaced(backbone.denoiser, {name: replaced(norm) for name, norm in lora.norms.items()})
        )
        undone.enter_context(patches.forward(layers, replacement))
        undone.callback(last.forget)
        yield
