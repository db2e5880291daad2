"""DDIM inversion of a style image: the latents that generation replays for the reference."""

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from workers.engine import schedulers
from workers.engine.cache.style_cache import key_of
from workers.engine.denoise import Hooks, Trajectory
from workers.engine.errors import Refused
from workers.engine.images import digest, to_signed
from workers.engine.technique import Bench, Order
from workers.techniques.shared_attention.style_aligned.spec import SPEC, StyleAlignedParams

OFFSET = 5
GUIDANCE = 2.0
INVERTED = "inverted_latents"


def inverted(order: Order, params: StyleAlignedParams, bench: Bench) -> Tensor:
    """Return zts (steps + 1, channels, h, w), float32, noisiest first, the image's own latents last; cached."""
    key = key_of(
        what="inversion", technique=SPEC.name, version=SPEC.version, **facts(order, params), **model_facts(order, bench)
    )
    return bench.cache.get(key, lambda: {INVERTED: _invert(order, params, bench)})[INVERTED]


def facts(order: Order, params: StyleAlignedParams) -> dict[str, Any]:
    """Return what an inversion depends on beside the model, the size and the schedule."""
    [image] = order.pictures.styles
    return {
        "image": digest(image),
        "prompt": params.reference_prompt,
        "guidance": guidance(params),
        "time_ids": list(params.inversion_time_ids),
    }


def model_facts(order: Order, bench: Bench) -> dict[str, Any]:
    """Return what everything about a reference depends on: model, size, schedule."""
    config = order.scheduler_config or bench.backbone.scheduler_config
    return {
        "model": bench.backbone.fingerprint,
        "dtype": str(bench.backbone.dtype),
        "size": [order.width, order.height],
        "steps": order.steps,
        "scheduler": repr(sorted((name, value) for name, value in config.items() if not name.startswith("_"))),
    }


def guidance(params: StyleAlignedParams) -> float:
    """Return the inversion's guidance: the authors' 2, or 1 where there is no text to be guided by."""
    if params.inversion_guidance_scale is not None:
        return params.inversion_guidance_scale
    return GUIDANCE if params.reference_prompt else 1.0


def offset(order: Order, params: StyleAlignedParams) -> int:
    """Return how many of the noisiest latents are skipped. Raises Refused when that leaves none."""
    if params.inversion_offset is None:
        return min(OFFSET, order.steps - 1)
    if params.inversion_offset >= order.steps:
        raise Refused(f"params.inversion_offset {params.inversion_offset} must be below the {order.steps} steps")
    return params.inversion_offset


class Path(Hooks):
    """Collects the latents of an inversion."""

    def __init__(self, start: Tensor) -> None:
        self.latents = [start]

    def after_step(self, trajectory: Trajectory) -> None:
        """Keep the latents."""
        self.latents.append(trajectory.latents)


def _invert(order: Order, params: StyleAlignedParams, bench: Bench) -> Tensor:
    backbone = bench.backbone
    start = backbone.encode(to_signed(_squashed(order)))
    positive, negative = backbone.condition(
        (params.reference_prompt or "",),
        None,
        guided=True,
        width=order.width,
        height=order.height,
        time_ids=params.inversion_time_ids,
    )
    trajectory = Trajectory(
        latents=start,
        scheduler=_scheduler(order.scheduler_config or backbone.scheduler_config, order.steps),
        positive=positive,
        negative=negative,
        guidance_scale=guidance(params),
    )
    path = Path(start)
    bench.denoise([trajectory], path)
    return torch.cat(path.latents[::-1])


def _squashed(order: Order) -> Image.Image:
    """Return the style image at the pictures' size, whatever its shape, as the authors do (bicubic)."""
    [image] = order.pictures.styles
    return image.convert("RGB").resize((order.width, order.height))


def _scheduler(config: Any, steps: int) -> Any:
    """Return the inverse scheduler. Raises Refused for a schedule that has no inverse."""
    try:
        return schedulers.build(schedulers.INVERSE, config, steps)
    except ValueError as unknown:
        raise Refused(f"the base model's schedule cannot be inverted for a style image: {unknown}") from unknown
