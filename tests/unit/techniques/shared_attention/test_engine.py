"""StyleAligned through the engine: batches, splitting, real sizes of what is kept, counted FLOPs of the real shapes."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from model_store.catalogue.entry import Base
from model_store.configs import config_folder
from tests.support.models import around
from tests.support.techniques.shared_attention_requests import picture
from workers.contract.jobs.models import Progress, StylizeRequest
from workers.engine import batch, schedulers
from workers.engine.backbones.pool import BackboneCache
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.conditioning import Condition
from workers.engine.denoise import Hooks, Trajectory, step
from workers.engine.engine import DiffusionEngine
from workers.engine.technique import Pictures
from workers.engine.types import BatchItem, GenerationResult
from workers.techniques.shared_attention.style_aligned.features import Features, token_bytes
from workers.techniques.shared_attention.style_aligned.options import Options, shared_layers
from workers.techniques.shared_attention.style_aligned.roles import Follower
from workers.techniques.shared_attention.style_aligned.technique import TECHNIQUE

OPTIONS = Options(True, True, True, False, True, False, 0.0)


def quiet(progress: Progress) -> None:
    pass


def work(style: Image.Image | None, **more: Any) -> BatchItem:
    fields: dict[str, Any] = {
        "method": "style-aligned",
        "model": "sdxl",
        "prompt": "a dog. minimal origami",
        "style_images": ("0" * 64,) if style else (),
        "params": {"reference_prompt": "a cat. minimal origami", "share_group_norm": True},
        "width": 64,
        "height": 64,
        "steps": 2,
        "guidance_scale": 5.0,
        "seed": 3,
        "strength": 1.0,
    }
    return BatchItem(StylizeRequest.model_validate(fields | more), Pictures((style,) if style else ()), quiet)


def engine_of(sdxl: StableDiffusion) -> DiffusionEngine:
    cache = StyleCache([MemoryTier("host", 1 << 28)])
    return DiffusionEngine(
        pool=BackboneCache(lambda model: sdxl), cache=cache, technique=lambda name: TECHNIQUE, weights=Path
    )


def pixels(outcome: GenerationResult | Exception) -> np.ndarray[Any, Any]:
    assert isinstance(outcome, GenerationResult), outcome
    return np.stack([np.asarray(one, dtype=int) for one in outcome.pictures])


def test_requests_of_different_styles_share_a_batch(sdxl: StableDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = batch.run

    def spy(backbone: StableDiffusion, technique: Any, parts: Any, weights: Any) -> None:
        sizes.append(len(parts))
        real(backbone, technique, parts, weights)

    monkeypatch.setattr(batch, "run", spy)
    works = [
        work(picture(1)),
        work(picture(2), prompt="a house", strength=0.5, steps=3, seed=8),
        work(None, prompt="a tree", num_images=2),
    ]
    engine = engine_of(sdxl)
    together = engine.run_batch(works)
    assert sizes == [3]
    for one, outcome in zip(works, together, strict=True):
        alone = engine.stylize(one.request, one.pictures, watch=quiet)
        assert alone.style_cache == "hit"
        assert np.abs(pixels(outcome) - pixels(alone)).max() <= 1


@pytest.mark.parametrize(("base", "width", "steps", "gigabytes"), [("sdxl", 1024, 30, 25.2), ("sd15", 512, 30, 2.77)])
def test_the_size_of_a_recording_is_known_before(base: Base, width: int, steps: int, gigabytes: float) -> None:
    backbone = on_meta(base)
    layers = shared_layers(backbone, 0.0)
    size = token_bytes(backbone, layers, width, width) * steps * 2
    assert size / 1e9 == pytest.approx(gigabytes, rel=0.01)


class Shapes(Features):
    """A recording of the right shapes and nothing in it."""

    def __init__(self, unet: Any, h: int, w: int) -> None:
        self._unet, self._cells = unet, (h, w)

    def at(self, name: str, step: int, half: int) -> torch.Tensor:
        owner, quality = name.rsplit(".", 1)
        module = self._unet.get_submodule(owner)
        if isinstance(module, torch.nn.GroupNorm):
            return torch.empty(module.num_groups, device="meta")
        tokens = 1 if "_" in quality else self.tokens(owner)
        return torch.empty(tokens, module.to_k.out_features, device="meta")

    def tokens(self, layer: str) -> int:
        levels = len(self._unet.config.block_out_channels)
        block, number, *_ = layer.split(".")
        level = int(number) if block == "down_blocks" else levels - 1
        level -= int(number) if block == "up_blocks" else 0
        return (self._cells[0] >> level) * (self._cells[1] >> level)


@cache
def on_meta(base: Base) -> StableDiffusion:
    """The published shapes of a base model's UNet, without weights."""
    config = json.loads((config_folder(base) / "unet" / "config.json").read_text())
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    return around(unet, base, torch.bfloat16)


@pytest.mark.parametrize(("base", "cells", "allowed"), [("sdxl", 128, 1.12), ("sd15", 64, 1.153)])
def test_counted_work_of_the_real_shapes(base: Base, cells: int, allowed: float) -> None:
    """The reference's columns double self-attention's products: 11 % of SDXL's work, 15 % of SD1.5's."""
    backbone = on_meta(base)
    with FlopCounterMode(display=False) as plain:
        step(backbone.predict, [trajectory_on_meta(backbone, cells)], Hooks())
    warm_one = trajectory_on_meta(backbone, cells)
    warm_one.extra = Follower(OPTIONS, Shapes(backbone.denoiser, cells, cells), w=1.0, shift=0.7)
    with TECHNIQUE.patch(backbone, [warm_one]) as hooks, FlopCounterMode(display=False) as warm:
        step(backbone.predict, [warm_one], hooks)
    ratio = warm.get_total_flops() / plain.get_total_flops()
    assert 1.05 < ratio <= allowed


def trajectory_on_meta(backbone: StableDiffusion, cells: int) -> Trajectory:
    config = backbone.denoiser.config
    with torch.device("meta"):
        text, latents = torch.empty(1, 77, config.cross_attention_dim), torch.empty(1, 4, cells, cells)
        more = (
            {"text_embeds": torch.empty(1, 1280), "time_ids": torch.empty(1, 6)} if config.addition_embed_type else {}
        )
    scheduler = schedulers.build("ddim", {}, 30)
    return Trajectory(latents, scheduler, Condition(text, more), Condition(text, more), guidance_scale=5.0)
