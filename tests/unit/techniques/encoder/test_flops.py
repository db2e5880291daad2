"""The price of a warm style, counted in the true shape of Stable Diffusion 1.5, without memory for its weights."""

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.support.models import around
from workers.engine.conditioning import Condition
from workers.engine.denoise import Hooks, Trajectory, denoise
from workers.techniques.encoder.attention import ImageStream, image_attention


@pytest.fixture(scope="module")
def unet() -> Any:
    with torch.device("meta"):
        return UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8).eval()


def trajectory(extra: tuple[ImageStream, ...]) -> Trajectory:
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(1)
    half = Condition(torch.empty(1, 77, 768, device="meta"))
    latents = torch.empty(1, 4, 64, 64, device="meta")
    return Trajectory(latents, scheduler, half, Condition(half.text), 7.5, extra=extra)


def flops(unet: Any, asked: Trajectory, hooks: Hooks) -> int:
    with FlopCounterMode(display=False) as counter:
        denoise(around(unet).predict, [asked], hooks=hooks)
    return counter.get_total_flops()


def test_a_warm_style_costs_what_plain_text_to_image_costs(unet: Any) -> None:
    tokens = 16

    def kept(name: str) -> Tensor:
        return torch.empty(
            2, tokens, unet.get_submodule(name.removesuffix(".processor")).to_k.out_features, device="meta"
        )

    layers = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    keys_values = {name: kept(name) for name in layers}
    asked = trajectory((ImageStream(keys_values, keys_values, dict.fromkeys(layers, 1.0)),))
    plain = flops(unet, trajectory(()), Hooks())
    with image_attention(around(unet), [asked]) as hooks:
        warm = flops(unet, asked, hooks)
    assert 1.0 < warm / plain < 1.005
