"""Small requests of flux2-edit, and what they become."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tests.support.models import no_weights
from workers.engine.backbones.flux2 import Flux2
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import Trajectory, denoise
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext
from workers.techniques.edit.flux2_edit.spec import Flux2EditParams
from workers.techniques.edit.flux2_edit.technique import TECHNIQUE


def picture(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size)


def asked(styles: int = 1, *, content: bool = False, prompt: str = "a boat", **more: Any) -> GenerationInputs:
    """Return a request; `more` replaces a field, or is one of the parameters."""
    named = {name: more.pop(name) for name in tuple(more) if name in Flux2EditParams.model_fields}
    pictures = tuple(picture(i, (64 + 16 * i, 64)) for i in range(styles))
    fields: dict[str, Any] = {
        "prompts": (prompt,),
        "seeds": (3,),
        "width": 64,
        "height": 64,
        "steps": 2,
        "guidance_scale": 1.0,
        "params": Flux2EditParams(max_sequence_length=96, **named),
        "noise": SeededNoise((3,)),
        "pictures": Pictures(pictures, picture(9) if content else None),
    }
    return GenerationInputs(**fields | more)


def context(backbone: Flux2, cache: StyleCache | None = None) -> PrepareContext:
    return PrepareContext(backbone, RequestCache(cache or StyleCache([MemoryTier("host", 1 << 28)])), no_weights)


def carried(trajectories: list[Trajectory], backbone: Flux2) -> list[Tensor]:
    """Return the latents that trajectories of one batch come to."""
    with TECHNIQUE.patch(backbone, trajectories) as hooks:
        denoise(backbone.predict, trajectories, hooks=hooks)
    return [one.latents for one in trajectories]


@torch.no_grad()
def made(inputs: GenerationInputs, backbone: Flux2, cache: StyleCache | None = None) -> Tensor:
    """Return the latents of one request alone."""
    [latents] = carried([TECHNIQUE.prepare(inputs, context(backbone, cache))], backbone)
    return latents
