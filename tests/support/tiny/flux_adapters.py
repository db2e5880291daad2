"""What goes with the small random FLUX models: Redux, a control LoRA in the authors' layout, a depth model."""

from pathlib import Path
from typing import Any

import torch
from diffusers import FluxPriorReduxPipeline
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessor,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from tests.support.tiny.flux import (
    CLIP_WIDTH,
    CONTROL_CHANNELS,
    DOUBLE_BLOCKS,
    HEAD_DIM,
    INNER,
    LATENT_CHANNELS,
    SINGLE_BLOCKS,
    T5_WIDTH,
    seeded,
)

SIGLIP_WIDTH, LORA_RANK = 28, 8


def build_redux(out: Path) -> None:
    """Write SigLIP and the projector, which also stands alone in the authors' file.

    58 pixels at patch 6 leave 9 x 9 tokens and a remainder, as 384 at patch 14 leave 27 x 27 and one.
    """
    tower = seeded(106, _siglip)
    projector = seeded(107, lambda: ReduxImageEncoder(redux_dim=SIGLIP_WIDTH, txt_in_features=T5_WIDTH))
    for parameter in projector.parameters():
        parameter.data.mul_(2)
    processor = SiglipImageProcessor(size={"height": 58, "width": 58}, resample=3)
    prior: Any = FluxPriorReduxPipeline(image_encoder=tower, feature_extractor=processor, image_embedder=projector)
    prior.save_pretrained(out, safe_serialization=True)
    tensors = {name: tensor.contiguous() for name, tensor in projector.state_dict().items()}
    save_file(tensors, out / "flux1-redux-dev.safetensors")


def build_control_lora(out: Path) -> None:
    """Write a control LoRA in the authors' layout: halves, biases of B, and norms replaced outright."""
    drawing = torch.Generator().manual_seed(108)
    tensors: dict[str, Tensor] = {}

    def linear(name: str, fan_in: int, fan_out: int) -> None:
        rank = min(LORA_RANK, fan_in, fan_out)
        tensors[f"{name}.lora_A.weight"] = torch.randn(rank, fan_in, generator=drawing) / fan_in**0.5
        tensors[f"{name}.lora_B.weight"] = 0.3 * torch.randn(fan_out, rank, generator=drawing) / rank**0.5
        tensors[f"{name}.lora_B.bias"] = 0.05 * torch.randn(fan_out, generator=drawing)

    def norms(*names: str) -> None:
        for name in names:
            tensors[f"{name}.scale"] = 1.5 + 0.2 * torch.randn(HEAD_DIM, generator=drawing)

    linear("img_in", CONTROL_CHANNELS, INNER)
    linear("txt_in", T5_WIDTH, INNER)
    for name, fan_in in (("time_in", 256), ("vector_in", CLIP_WIDTH), ("guidance_in", 256)):
        linear(f"{name}.in_layer", fan_in, INNER)
        linear(f"{name}.out_layer", INNER, INNER)
    for block in (f"double_blocks.{i}.{stream}" for i in range(DOUBLE_BLOCKS) for stream in ("img", "txt")):
        linear(f"{block}_mod.lin", INNER, 6 * INNER)
        linear(f"{block}_attn.qkv", INNER, 3 * INNER)
        linear(f"{block}_attn.proj", INNER, INNER)
        linear(f"{block}_mlp.0", INNER, 4 * INNER)
        linear(f"{block}_mlp.2", 4 * INNER, INNER)
        norms(f"{block}_attn.norm.query_norm", f"{block}_attn.norm.key_norm")
    for block in (f"single_blocks.{i}" for i in range(SINGLE_BLOCKS)):
        linear(f"{block}.modulation.lin", INNER, 3 * INNER)
        linear(f"{block}.linear1", INNER, 7 * INNER)
        linear(f"{block}.linear2", 5 * INNER, INNER)
        norms(f"{block}.norm.query_norm", f"{block}.norm.key_norm")
    linear("final_layer.linear", INNER, LATENT_CHANNELS)
    linear("final_layer.adaLN_modulation.1", INNER, 2 * INNER)
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "flux1-canny-dev-lora.safetensors")


def build_depth(out: Path) -> None:
    """Write a depth model with its processor: patches of 14 pixels on a side of 56. Depths reach about 100."""
    model = seeded(109, _depth_anything)
    torch.manual_seed(1090)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and not name.startswith("backbone"):
            parameter.data.copy_(torch.randn_like(parameter) / parameter[0].numel() ** 0.5)
        elif name.endswith("lambda1"):
            parameter.data.fill_(1.0)
        elif parameter.dim() > 1:
            parameter.data.mul_(4)
    model.head.conv3.weight.data.abs_().mul_(40)
    model.head.conv3.bias.data.fill_(10.0)
    model.save_pretrained(out, safe_serialization=True)
    DPTImageProcessor(
        size={"height": 56, "width": 56},
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
        resample=3,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(out)


def _siglip() -> SiglipVisionModel:
    return SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=SIGLIP_WIDTH,
            intermediate_size=56,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=58,
            patch_size=6,
            hidden_act="gelu_pytorch_tanh",
            layer_norm_eps=1e-6,
        )
    )


def _depth_anything() -> DepthAnythingForDepthEstimation:
    backbone = Dinov2Config(
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=56,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    return DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=backbone,
            patch_size=14,
            reassemble_hidden_size=24,
            neck_hidden_sizes=[8, 12, 16, 24],
            fusion_hidden_size=8,
            head_hidden_size=8,
            initializer_range=0.2,
        )
    )
