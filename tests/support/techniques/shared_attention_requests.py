"""Orders, benches and runs for the tests of style-aligned."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from workers.engine.backbones.patches import forward_hook
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import denoise
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext
from workers.techniques.shared_attention.style_aligned.spec import StyleAlignedParams
from workers.techniques.shared_attention.style_aligned.technique import StyleAligned

REFERENCE = "a cat. minimal origami"


def picture(seed: int, size: tuple[int, int] = (100, 150)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


def inputs(
    styles: tuple[Image.Image, ...] = (), control_image: Image.Image | None = None, **more: Any
) -> GenerationInputs:
    """A small request of two pictures; fields of Order go there, all else to the parameters."""
    fields: dict[str, Any] = {
        "prompts": ("a dog. minimal origami", "a fox. minimal origami"),
        "width": 64,
        "height": 64,
        "steps": 2,
        "guidance_scale": 5.0,
        "negative_prompt": "blurry",
    }
    fields |= {name: more.pop(name) for name in list(more) if name in GenerationInputs.__dataclass_fields__}
    seeds = fields.setdefault("seeds", tuple(range(7, 7 + len(fields["prompts"]))))
    params = StyleAlignedParams(**{"reference_prompt": REFERENCE} | more)
    return GenerationInputs(
        noise=SeededNoise(seeds), params=params, pictures=Pictures(styles, control=control_image), **fields
    )


def bench_of(backbone: StableDiffusion, *, budget: int = 1 << 30, **more: Any) -> PrepareContext:
    return PrepareContext(
        backbone, RequestCache(StyleCache([MemoryTier("host", budget)])), more.pop("weights", str), **more
    )


def run(asked: GenerationInputs, context: PrepareContext, technique: StyleAligned | None = None) -> Tensor:
    """Return the final latents of one request."""
    return together([asked], context, technique)[0]


def together(
    orders: list[GenerationInputs], context: PrepareContext, technique: StyleAligned | None = None
) -> list[Tensor]:
    """Return the final latents of requests denoised as one batch."""
    technique = technique or StyleAligned()
    trajectories = [technique.prepare(one, context) for one in orders]
    with technique.patch(context.backbone, trajectories) as hooks:
        denoise(context.backbone.predict, trajectories, hooks=hooks)
    return [one.latents for one in trajectories]


def off(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference as a share of the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


@contextmanager
def counted(backbone: StableDiffusion) -> Iterator[list[int]]:
    """Count the rows of every UNet call."""
    rows: list[int] = []
    with forward_hook(backbone.denoiser, lambda m, args, kwargs, out: rows.append(len(out[0]))):
        yield rows
