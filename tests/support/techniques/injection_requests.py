"""Requests of the injection tests: small seeded pictures, few steps, what a denoising gives and what it costs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.denoise import denoise
from workers.engine.noise import RecordedNoise
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext
from workers.techniques.injection.style_id.spec import StyleIdParams
from workers.techniques.injection.style_id.technique import StyleId

STEPS = 2


def picture(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def ordered(params: StyleIdParams | None = None, *, style: int = 1, content: Any = 2, **more: Any) -> GenerationInputs:
    """An order without random draws: asking for one is a KeyError."""
    shown = picture(content) if isinstance(content, int) else content
    fields: dict[str, Any] = {
        "prompts": ("",),
        "seeds": (0,),
        "width": 64,
        "height": 64,
        "steps": STEPS,
        "guidance_scale": 1.0,
        "params": params or StyleIdParams(),
        "noise": RecordedNoise({}),
        "strength": 0.5,
        "pictures": Pictures((picture(style),), shown),
    }
    return GenerationInputs(**fields | more)


def made(context: PrepareContext, *orders: GenerationInputs) -> list[Tensor]:
    """The final latents of orders prepared one by one and denoised as one batch."""
    technique = StyleId()
    trajectories = [technique.prepare(inputs, context) for inputs in orders]
    with technique.patch(context.backbone, trajectories) as hooks:
        denoise(context.backbone.predict, trajectories, hooks=hooks)
    return [trajectory.latents for trajectory in trajectories]


@contextmanager
def counted(backbone: StableDiffusion) -> Iterator[list[int]]:
    """The rows of every UNet call."""
    rows: list[int] = []

    def note(module: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        rows.append(len(args[0]))

    handle = backbone.denoiser.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield rows
    finally:
        handle.remove()
