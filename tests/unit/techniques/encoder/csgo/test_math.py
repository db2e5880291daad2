"""CSGO's scales and layers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

import model_store
from model_store.load.component import empty_component
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.techniques.encoder.csgo import math
from workers.techniques.encoder.csgo.math import Scales
from workers.techniques.encoder.csgo.spec import Task


@pytest.mark.parametrize(("task", "held"), [("image_driven", 0.6), ("text_edit_driven", 0.4), ("text_driven", 0.01)])
def test_at_strength_1_the_scales_are_the_authors(task: Task, held: float) -> None:
    found = math.scales(task, 1.0, delta_c=None, lambda_c=0.5, lambda_s=0.8, content_in_unet=True)
    assert found == Scales(held, 0.5, 0.8)


def test_strength_moves_the_style_and_in_text_driven_everything() -> None:
    half = math.scales("image_driven", 0.5, delta_c=0.3, lambda_c=0.5, lambda_s=0.8, content_in_unet=True)
    assert half == Scales(0.3, 0.5, 0.4)
    half = math.scales("text_driven", 0.5, delta_c=0.3, lambda_c=0.5, lambda_s=0.8, content_in_unet=True)
    assert half == Scales(0.15, 0.25, 0.4)


def test_as_released_the_unet_sees_no_content() -> None:
    found = math.scales("image_driven", 1.0, delta_c=None, lambda_c=1.0, lambda_s=1.0, content_in_unet=False)
    assert found.lambda_c == 0


def test_positions_count_every_attention_down_up_middle(sdxl: StableDiffusion) -> None:
    names = list(sdxl.denoiser.attn_processors)
    style, content = (math.cross_attentions(names, block) for block in (math.STYLE_IN_UNET, math.CONTENT_IN_UNET))
    assert (len(style), len(content)) == (9, 6)
    assert list(content.values()) == [1, 3, 5, 7, 9, 11]
    assert list(style.values()) == [13, 15, 17, 19, 21, 23, 25, 27, 29]
    assert all(names[position] == name for name, position in (style | content).items())


def test_in_the_true_shape_the_style_has_36_layers_and_the_content_24() -> None:
    folder = Path(model_store.__file__).parent / "configs" / "sdxl" / "unet"
    names: Any = empty_component(folder, UNet2DConditionModel).attn_processors
    style, content = (math.cross_attentions(names, block) for block in (math.STYLE_IN_UNET, math.CONTENT_IN_UNET))
    assert (len(style), len(content)) == (36, 24)
    assert max(content.values()) < min(style.values())


def test_keys_and_values_are_the_two_maps_of_the_tokens() -> None:
    to_k, to_v, tokens = torch.randn(3, 2), torch.randn(3, 2), torch.randn(5, 2)
    found = math.keys_values({"a": (to_k, to_v)}, tokens)["a"]
    assert torch.allclose(found, torch.stack([tokens @ to_k.T, tokens @ to_v.T]))
