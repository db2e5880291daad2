"""Every knob against the published formulation, in which the reference is a row of the batch."""

from typing import Any

import pytest
import torch

from tests.support.techniques.shared_attention_requests import REFERENCE, bench_of, inputs, off, run
from tests.unit.techniques.shared_attention.joint import generate
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.technique import GenerationInputs
from workers.techniques.shared_attention.style_aligned import math
from workers.techniques.shared_attention.style_aligned.reference import seeded

KNOBS: dict[str, Any] = {
    "share_attention": True,
    "adain_queries": True,
    "adain_keys": True,
    "adain_values": False,
    "share_group_norm": True,
    "shared_score_scale": 1.0,
    "shared_score_shift": 0.7,
    "full_attention_share": False,
}
VARIED: list[dict[str, Any]] = [
    {},
    {"adain_values": True, "shared_score_scale": 0.5, "shared_score_shift": -1.0},
    {"adain_queries": False, "adain_keys": False, "share_group_norm": False},
    {"share_attention": False, "adain_values": True},
    {"full_attention_share": True},
    {"full_attention_share": True, "share_group_norm": False},
    {"only_self_level": 0.3},
    {"only_self_level": 0.6},
    {"only_self_level": 1.0},
    {"guidance_scale": 1.0},
    {"guidance_scale": 0.0, "full_attention_share": True},
    {"negative_prompt": None, "width": 96},
]


def joint(asked: GenerationInputs, backbone: StableDiffusion, parameters: dict[str, Any], level: float) -> torch.Tensor:
    L = sum("attn1" in name for name in backbone.denoiser.attn_processors)
    shape = backbone.latent_shape(asked.width, asked.height)
    return generate(
        backbone,
        (REFERENCE, *asked.prompts),
        torch.cat([seeded(0, shape), asked.noise.normal("initial", shape)]),
        steps=asked.steps,
        guidance=asked.guidance_scale,
        negative=asked.negative_prompt,
        size=(asked.width, asked.height),
        parameters=parameters,
        plain={i for i, alone in enumerate(math.plain_layers(L, level)) if alone},
    )[1:]


@pytest.mark.parametrize("varied", VARIED, ids=lambda varied: "-".join(map(str, varied.values())) or "all")
def test_the_cached_reference_gives_what_the_joint_batch_gives(sdxl: StableDiffusion, varied: dict[str, Any]) -> None:
    asked = inputs(**KNOBS | varied)
    level = varied.get("only_self_level", 0.0)
    theirs = joint(asked, sdxl, {name: value for name, value in (KNOBS | varied).items() if name in KNOBS}, level)
    assert off(run(asked, bench_of(sdxl)), theirs) < 2e-5


def test_on_sd15_too(sd15: StableDiffusion) -> None:
    varied = {"only_self_level": 0.3, "width": 128, "height": 128}
    asked = inputs(**KNOBS | varied)
    assert off(run(asked, bench_of(sd15)), joint(asked, sd15, KNOBS, 0.3)) < 2e-5


@pytest.mark.parametrize("varied", [VARIED[0], VARIED[1], VARIED[3], VARIED[6], VARIED[9]])
def test_a_reference_that_goes_along_gives_the_same(sdxl: StableDiffusion, varied: dict[str, Any]) -> None:
    asked = inputs(**KNOBS | varied)
    assert off(run(asked, bench_of(sdxl, budget=0)), run(asked, bench_of(sdxl))) < 2e-5
