"""Requests of the tests on FLUX: small pictures, a short text, the tiny Redux and control LoRA."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from workers.contract.spec import Params
from workers.engine.backbones.flux import Flux
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import denoise
from workers.engine.errors import WeightsMissing
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext, Technique

WIDTH, HEIGHT = 64, 48
SHORT = 16
"""Tokens of text: a tenth of the time that the model's own length takes."""


def picture(seed: int = 0, size: tuple[int, int] = (80, 56)) -> Image.Image:
    """Return a smooth random picture."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def installed(tiny_root: Path) -> Callable[[str], Path]:
    """Return a store in which the tiny Redux and the LoRA for edges are installed under the published ids."""
    files = {"flux1-redux": tiny_root / "flux-redux", "flux1-canny-lora": tiny_root / "flux-control-lora"}

    def weights(model: str) -> Path:
        if model not in files:
            raise WeightsMissing(model)
        return files[model]

    return weights


def context_on(backbone: Flux, weights: Callable[[str], Path], cache: StyleCache | None = None) -> PrepareContext:
    return PrepareContext(backbone, RequestCache(cache or StyleCache([MemoryTier("host", 1 << 28)])), weights)


def inputs(params: Params, pictures: Pictures | None = None, **more: Any) -> GenerationInputs:
    """Return a small request; `more` replaces any field."""
    fields: dict[str, Any] = {
        "prompts": ("a red house",),
        "seeds": (3,),
        "width": WIDTH,
        "height": HEIGHT,
        "steps": 2,
        "guidance_scale": 2.5,
        "params": params,
        "noise": SeededNoise(more.get("seeds", (3,))),
        "pictures": pictures or Pictures((picture(),)),
    }
    return GenerationInputs(**fields | more)


def latents(technique: Technique, context: PrepareContext, *requests: GenerationInputs) -> list[Tensor]:
    """Return the final latents of requests denoised as one batch."""
    trajectories = [technique.prepare(each, context) for each in requests]
    with technique.patch(context.backbone, trajectories) as hooks:
        denoise(context.backbone.predict, trajectories, hooks=hooks)
    return [trajectory.latents for trajectory in trajectories]


@contextmanager
def counted(*modules: nn.Module) -> Iterator[list[nn.Module]]:
    """Note every call of some modules, in order."""
    calls: list[nn.Module] = []

    def note(module: nn.Module, args: Sequence[Any]) -> None:
        calls.append(module)

    handles = [module.register_forward_pre_hook(note) for module in modules]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
