"""Orders, pictures and tiny adapters for the tests of the encoder family."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from tests.parity.converted import converted
from workers.contract.spec import Params
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import Trajectory, denoise
from workers.engine.errors import WeightsMissing
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext, Technique

WEIGHTS = Path(__file__).parents[2] / "parity" / "cases" / "encoder" / "weights"
PUBLISHED = {
    "ip-adapter-sd15": WEIGHTS / "ip-adapter_sd15.bin",
    "ip-adapter-plus-sd15": WEIGHTS / "ip-adapter-plus_sd15.safetensors",
    "ip-adapter-sdxl": WEIGHTS / "ip-adapter_sdxl.safetensors",
    "ip-adapter-plus-sdxl-vit-h": WEIGHTS / "ip-adapter-plus_sdxl_vit-h.bin",
}
"""Tiny adapters as their authors would publish them."""


@cache
def adapter_of(model: str) -> Path:
    """Return a tiny adapter as a pull leaves it."""
    return converted(PUBLISHED[model], "ip-adapter")


def store(tiny_root: Path) -> Callable[[str], Path]:
    """Return a store in which the tiny adapters are installed under the ids of the published ones."""
    files = dict.fromkeys(("clip-vit-h", "clip-vit-bigg"), tiny_root / "clip-vision")
    files["clip-vit-h-text"] = WEIGHTS / "clip-text"

    def weights(model: str) -> Path:
        if model in PUBLISHED:
            return adapter_of(model)
        if model not in files:
            raise WeightsMissing(model)
        return files[model]

    return weights


def nothing_installed(model: str) -> Path:
    raise WeightsMissing(model)


def picture(seed: int = 0, size: tuple[int, int] = (80, 56)) -> Image.Image:
    """Return a smooth random picture."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def bench_on(
    backbone: StableDiffusion, weights: Callable[[str], Path], cache: StyleCache | None = None
) -> PrepareContext:
    return PrepareContext(backbone, RequestCache(cache or StyleCache([MemoryTier("host", 1 << 28)])), weights)


def inputs(params: Params, *styles: Image.Image, **more: Any) -> GenerationInputs:
    side = 64
    fields: dict[str, Any] = {
        "prompts": ("a red house",),
        "seeds": (3,),
        "width": side,
        "height": side,
        "steps": 2,
        "guidance_scale": 5.0,
        "params": params,
        "noise": SeededNoise(more.get("seeds", (3,))),
        "pictures": Pictures(styles or (picture(),)),
    }
    return GenerationInputs(**fields | more)


def latents(technique: Technique, context: PrepareContext, *orders: GenerationInputs) -> list[Tensor]:
    """Return the final latents of orders denoised as one batch."""
    trajectories = [technique.prepare(each, context) for each in orders]
    carry(technique, context, trajectories)
    return [trajectory.latents for trajectory in trajectories]


def carry(technique: Technique, context: PrepareContext, trajectories: Sequence[Trajectory]) -> None:
    with technique.patch(context.backbone, trajectories) as hooks:
        denoise(context.backbone.predict, trajectories, hooks=hooks)
