"""The layers of FLUX.1 by the authors' names, and what diffusers makes of each: one of theirs can be several of its."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

Layers = Mapping[str, tuple[str, ...]]

OUTER: Layers = {
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "time_in.in_layer": ("time_text_embed.timestep_embedder.linear_1",),
    "time_in.out_layer": ("time_text_embed.timestep_embedder.linear_2",),
    "vector_in.in_layer": ("time_text_embed.text_embedder.linear_1",),
    "vector_in.out_layer": ("time_text_embed.text_embedder.linear_2",),
    "guidance_in.in_layer": ("time_text_embed.guidance_embedder.linear_1",),
    "guidance_in.out_layer": ("time_text_embed.guidance_embedder.linear_2",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
}
DOUBLE: Layers = {
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
SINGLE: Layers = {
    "modulation.lin": ("norm.linear",),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
}
BLOCKS = {"double": "transformer_blocks", "single": "single_transformer_blocks"}
BLOCK = re.compile(r"(double|single)_blocks\.(\d+)\.(.+)")
EXCHANGED = "norm_out.linear"
"""The authors' halves of its rows are shift and scale, diffusers' scale and shift."""


def diffusers_layers(name: str) -> tuple[str, ...]:
    """Return diffusers' names of a layer of the authors', in the order of its output rows. Raises KeyError."""
    if (block := BLOCK.fullmatch(name)) is None:
        return OUTER[name]
    kind, number, part = block.groups()
    return tuple(f"{BLOCKS[kind]}.{number}.{layer}" for layer in (DOUBLE if kind == "double" else SINGLE)[part])


def exchanged(rows: Tensor) -> Tensor:
    """Return rows (2 n, ...) with the second half first."""
    first, second = rows.chunk(2)
    return torch.cat([second, first])
