"""IP-Adapter (Ye et al. 2023) for the starter's UNet, in the published checkpoint layout."""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from workers.training.starter.networks.attention import cross_attentions
from workers.training.starter.networks.text import PROJECTION_DIM, WIDTH

IMAGE_TOKENS = 4

Checkpoint = dict[str, dict[str, Tensor]]


def new_adapter(unet: UNet2DConditionModel, generator: torch.Generator) -> Checkpoint:
    """`image_proj` at random, `ip_adapter` from the UNet's own text keys and values, as the authors start."""
    image_proj = {
        "proj.weight": torch.randn(IMAGE_TOKENS * WIDTH, PROJECTION_DIM, generator=generator) * PROJECTION_DIM**-0.5,
        "proj.bias": torch.zeros(IMAGE_TOKENS * WIDTH),
        "norm.weight": torch.ones(WIDTH),
        "norm.bias": torch.zeros(WIDTH),
    }
    weights: dict[str, Tensor] = {}
    modules = dict(unet.named_modules())
    for number, layer in cross_attentions(unet):
        for kind in ("k", "v"):
            weights[f"{number}.to_{kind}_ip.weight"] = modules[f"{layer}.to_{kind}"].weight.detach().clone()
    return {"image_proj": image_proj, "ip_adapter": weights}


def attach(unet: UNet2DConditionModel, checkpoint: Checkpoint) -> list[nn.Parameter]:
    """Put the adapter into the UNet the way diffusers does; returns its parameters, the only ones to train."""
    unet._load_ip_adapter_weights([checkpoint])
    unet.requires_grad_(False)
    parts = [*unet.encoder_hid_proj.parameters()]
    for _, layer in cross_attentions(unet):
        parts.extend(unet.attn_processors[f"{layer}.processor"].parameters())
    for part in parts:
        part.requires_grad_(True)
    return parts


def read_adapter(unet: UNet2DConditionModel) -> Checkpoint:
    """The attached adapter's weights, back in the published layout."""
    projection = unet.encoder_hid_proj.image_projection_layers[0]
    image_proj = {
        "proj.weight": projection.image_embeds.weight,
        "proj.bias": projection.image_embeds.bias,
        "norm.weight": projection.norm.weight,
        "norm.bias": projection.norm.bias,
    }
    weights: dict[str, Tensor] = {}
    for number, layer in cross_attentions(unet):
        processor = unet.attn_processors[f"{layer}.processor"]
        weights[f"{number}.to_k_ip.weight"] = processor.to_k_ip[0].weight
        weights[f"{number}.to_v_ip.weight"] = processor.to_v_ip[0].weight
    halves = {"image_proj": image_proj, "ip_adapter": weights}
    return {part: {name: t.detach().clone() for name, t in tensors.items()} for part, tensors in halves.items()}


def set_scale(unet: UNet2DConditionModel, scale: float) -> None:
    """How much the image tokens add to the text's."""
    for _, layer in cross_attentions(unet):
        unet.attn_processors[f"{layer}.processor"].scale = [scale]
