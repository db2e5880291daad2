"""DDIM inversion of a style image: the latents that generation replays for the reference."""

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from workers.engine import schedulers
from workers.engine.backbones.stable_diffusion import with_time_ids
from workers.engine.cache.style_cache import key_of
from workers.engine.denoise import Hooks, Trajectory
from workers.engine.errors import Refused
from workers.engine.images import digest, to_signed
from workers.engine.technique import GenerationInputs, PrepareContext
from workers.techniques.shared_attention.style_aligned.spec import SPEC, StyleAlignedParams

OFFSET = 5
GUIDANCE = 2.0
INVERTED = "inverted_latents"


def inverted(inputs: GenerationInputs, params: StyleAlignedParams, context: PrepareContext) -> Tensor:
    """Return zts (steps + 1, channels, h, w), float32, noisiest first, the image's own latents last; cached."""
    key = key_of(
        what="inversion",
        technique=SPEC.name,
        version=SPEC.version,
        **facts(inputs, params),
        **model_facts(inputs, context),
    )
    return context.cache.get(key, lambda: {INVERTED: _invert(inputs, params, context)})[INVERTED]


def facts(inputs: GenerationInputs, params: StyleAlignedParams) -> dict[str, Any]:
    """Return what an inversion depends on beside the model, the size and the schedule."""
    [image] = inputs.pictures.styles
    return {
        "image": digest(image),
        "prompt": params.reference_prompt,
        "guidance": guidance(params),
        "time_ids": list(params.inversion_time_ids),
    }


def model_facts(inputs: GenerationInputs, context: PrepareContext) -> dict[str, Any]:
    """Return what everything about a reference depends on: model, size, schedule."""
    config = inputs.scheduler_config or context.backbone.scheduler_config
    return {
        "model": context.backbone.fingerprint,
        "dtype": str(context.backbone.dtype),
        "size": [inputs.width, inputs.height],
        "steps": inputs.steps,
        "scheduler": repr(sorted((name, value) for name, value in config.items() if not name.startswith("_"))),
    }


def guidance(params: StyleAlignedParams) -> float:
    """Return the inversion's guidance: the authors' 2, or 1 where there is no text to be guided by."""
    if params.inversion_guidance_scale is not None:
        return params.inversion_guidance_scale
    return GUIDANCE if params.reference_prompt else 1.0


def offset(inputs: GenerationInputs, params: StyleAlignedParams) -> int:
    """Return how many of the noisiest latents are skipped. Raises Refused when that leaves none."""
    if params.inversion_offset is None:
        return min(OFFSET, inputs.steps - 1)
    if params.inversion_offset >= inputs.steps:
        raise Refused(f"params.inversion_offset {params.inversion_offset} must be below the {inputs.steps} steps")
    return params.inversion_offset


class LatentsRecorder(Hooks):
    """Collects the latents of an inversion."""

    def __init__(self, start: Tensor) -> None:
        self.latents = [start]

    def after_step(self, trajectory: Trajectory) -> None:
        """Keep the latents."""
        self.latents.append(trajectory.latents)


def _invert(inputs: GenerationInputs, params: StyleAlignedParams, context: PrepareContext) -> Tensor:
    backbone = context.backbone
    start = backbone.encode(to_signed(_squashed(inputs)))
    positive, negative = backbone.condition(
        (params.reference_prompt or "",),
        None,
        guided=True,
        width=inputs.width,
        height=inputs.height,
    )
    ids = params.inversion_time_ids
    trajectory = Trajectory(
        latents=start,
        scheduler=_scheduler(inputs.scheduler_config or backbone.scheduler_config, inputs.steps),
        positive=with_time_ids(positive, ids),
        negative=None if negative is None else with_time_ids(negative, ids),
        guidance_scale=guidance(params),
    )
    recorder = LatentsRecorder(start)
    context.denoise([trajectory], recorder)
    return torch.cat(recorder.latents[::-1])


def _squashed(inputs: GenerationInputs) -> Image.Image:
    """Return the style image at the pictures' size, whatever its shape, as the authors do (bicubic)."""
    [image] = inputs.pictures.styles
    return image.convert("RGB").resize((inputs.width, inputs.height))


def _scheduler(config: Any, steps: int) -> Any:
    """Return the inverse scheduler. Raises Refused for a schedule that has no inverse."""
    try:
        return schedulers.build(schedulers.INVERSE, config, steps)
    except ValueError as unknown:
        raise Refused(f"the base model's schedule cannot be inverted for a style image: {unknown}") from unknown
