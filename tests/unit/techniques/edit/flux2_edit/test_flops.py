"""The price of references, counted in the true shape of FLUX.2 [klein] 4B, without memory for its weights."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import Flux2Transformer2DModel
from torch.utils.flop_counter import FlopCounterMode

from workers.engine.backbones.flux2 import Flux2, with_references
from workers.engine.conditioning import Condition
from workers.engine.denoise import Trajectory, denoise
from workers.techniques.edit.flux2_edit.attention import SeenReferences, reference_keys
from workers.techniques.edit.flux2_edit.spec import SPEC
from workers.techniques.edit.flux2_edit.technique import TECHNIQUE

CELLS = 1024 // 16
BYTES_OF_A_TOKEN = 307_200


@pytest.fixture(scope="module")
def klein_4b() -> Flux2:
    with torch.device("meta"):
        transformer: Any = Flux2Transformer2DModel(
            in_channels=128,
            num_layers=5,
            num_single_layers=20,
            num_attention_heads=24,
            joint_attention_dim=7680,
            guidance_embeds=False,
        )
    vae = SimpleNamespace(config=SimpleNamespace(latent_channels=32, block_out_channels=(1, 1, 1, 1)))
    config = {"use_dynamic_shifting": True}
    pipe = SimpleNamespace(transformer=transformer.eval(), vae=vae, scheduler=SimpleNamespace(config=config))
    return Flux2(pipe, name="klein", base="flux2-klein", fingerprint="", dtype=torch.float32)


def latents_of(tokens: int) -> list[torch.Tensor]:
    return [torch.empty(1, 128, 32, tokens // 32, device="meta")] if tokens else []


def flops(backbone: Flux2, references: int, *, kept: bool = False, factor: float = 1.0) -> float:
    """Return the TFLOP of one evaluation for a picture of 1024 x 1024."""
    scheduler = backbone.build_scheduler("euler", 1, width=1024, height=1024)
    condition = Condition(torch.empty(1, 512, 7680, device="meta"))
    latents = latents_of(references)
    seen = SeenReferences((references,), (factor,), reference_keys(backbone, latents) if kept else None)
    condition = condition if kept else with_references(condition, latents)
    trajectory = Trajectory(torch.empty(1, 128, CELLS, CELLS, device="meta"), scheduler, condition, extra=seen)
    with FlopCounterMode(display=False) as counter, TECHNIQUE.patch(backbone, [trajectory]) as hooks:
        denoise(backbone.predict, [trajectory], hooks=hooks)
    return counter.get_total_flops() / 1e12


@pytest.mark.parametrize(("tokens", "tflop"), [(0, 34.8), (1024, 44.3), (2304, 57.1), (4096, 76.7), (8192, 128.9)])
def test_references_in_the_sequence(klein_4b: Flux2, tokens: int, tflop: float) -> None:
    assert flops(klein_4b, tokens) == pytest.approx(tflop, rel=0.01)


@pytest.mark.parametrize(("tokens", "ratio"), [(1024, 1.04), (4096, 1.17), (8192, 1.33)])
def test_references_whose_keys_are_kept(klein_4b: Flux2, tokens: int, ratio: float) -> None:
    assert flops(klein_4b, tokens, kept=True) / flops(klein_4b, 0) == pytest.approx(ratio, rel=0.01)


def test_less_attention_costs_little(klein_4b: Flux2) -> None:
    assert 1 < flops(klein_4b, 4096, factor=0.25) / flops(klein_4b, 4096) < 1.03


def test_the_price_is_that_of_one_reference_of_the_pictures_size(klein_4b: Flux2) -> None:
    assert SPEC.cost.row_passes == pytest.approx(flops(klein_4b, CELLS**2) / flops(klein_4b, 0), rel=0.01)


def test_the_bytes_that_are_kept_of_a_token(klein_4b: Flux2) -> None:
    kept = reference_keys(klein_4b, latents_of(1024))
    assert sum(tensor.numel() * 2 for tensor in kept.values()) == 1024 * BYTES_OF_A_TOKEN
