"""Requests of different styles in one batch of the engine: the one check of it for the encoder family."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.techniques.encoder_samples import picture
from workers.contract.jobs.models import StylizeRequest
from workers.engine.backbones.pool import BackboneCache
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.engine import DiffusionEngine
from workers.engine.technique import Pictures
from workers.engine.types import BatchItem, GenerationResult
from workers.techniques import registry


def work(
    method: str, backbone: StableDiffusion, prompt: str, seed: int, *, content: bool = False, **params: Any
) -> BatchItem:
    """Return a small request with a style picture of its own, and a content picture if asked."""
    request = StylizeRequest(
        method=method,
        model=backbone.base,
        prompt=prompt,
        style_images=("0" * 64,),
        seed=seed,
        width=64,
        height=64,
        steps=2,
        guidance_scale=5.0,
        strength=0.8,
        params=params,
    )
    shown = picture(seed + 5, (64, 64)) if content else None
    return BatchItem(request, Pictures((picture(seed),), shown), lambda progress: None)


def require_the_same_alone(
    works: list[BatchItem], backbone: StableDiffusion, weights: Callable[[str], Path]
) -> list[int]:
    """Require that every picture of the batch is the one its request gets alone; return the rows of its UNet calls."""

    def made(some: list[BatchItem]) -> list[Any]:
        cache = StyleCache([MemoryTier("host", 1 << 28)])
        engine = DiffusionEngine(
            pool=BackboneCache(lambda model: backbone), cache=cache, technique=registry.technique, weights=weights
        )
        return list(engine.run_batch(some))

    calls: list[int] = []
    hook = backbone.denoiser.register_forward_pre_hook(lambda unet, given: calls.append(len(given[0])))
    together = made(works)
    hook.remove()
    for one, other in zip([made([each])[0] for each in works], together, strict=True):
        assert isinstance(one, GenerationResult)
        assert isinstance(other, GenerationResult)
        alone, batched = (np.asarray(rendered.pictures[0], dtype=int) for rendered in (one, other))
        assert abs(alone - batched).max() <= 1
    return calls
