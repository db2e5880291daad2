"""Guidance by CSD: each step follows the gradient of what the descriptor says of the picture in the making."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from workers.engine import schedulers
from workers.engine.backbones import csd
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.csd import Descriptor
from workers.engine.cache.style_cache import key_of
from workers.engine.denoise import DenoiserCall, Hooks, Rows, Trajectory
from workers.engine.images import digest
from workers.engine.technique import PrepareContext
from workers.techniques.encoder.instantstyle_plus import math
from workers.techniques.encoder.weights import adapter_in, installed_path

CSD = "csd"


@dataclass(frozen=True, eq=False)
class Guidance:
    """What one request is guided to: descriptors (1, d) of style and content image, and their scales."""

    descriptor: Descriptor
    references: tuple[Tensor, Tensor]
    scales: tuple[float, float]


def descriptor(context: PrepareContext) -> Descriptor:
    """Return CSD, resident beside the base model. Raises WeightsMissing with the command that fetches it."""
    path = adapter_in(installed_path(CSD, CSD, context))
    device = context.backbone.device
    found: Descriptor = context.backbone.get_or_load(f"csd {path}", lambda: csd.load(path).to(device))
    return found


def described(
    image: Image.Image, judge: Descriptor, context: PrepareContext, *, of_style: bool
) -> tuple[Tensor, Tensor]:
    """Return a picture's style and content descriptors (1, d), kept in the cache."""
    key = key_of(what="csd descriptors", version=1, csd=judge.fingerprint, image=digest(image))

    def build() -> dict[str, Tensor]:
        style, content = judge.describe(image)
        return {"style": style, "content": content}

    kept = context.cache.get(key, build, of_style=of_style)
    return kept["style"].to(context.backbone.device), kept["content"].to(context.backbone.device)


def guidance(
    style: Image.Image, content: Image.Image, scales: tuple[float, float], context: PrepareContext
) -> Guidance | None:
    """Return what to guide to, None when both scales are 0."""
    if not any(scales):
        return None
    judge = descriptor(context)
    to_style, _ = described(style, judge, context, of_style=True)
    _, to_content = described(content, judge, context, of_style=False)
    return Guidance(judge, (to_style, to_content), scales)


def guided(
    trajectory: Trajectory, asked: Guidance, noise: Tensor, call: DenoiserCall, rows: Hooks, of: Backbone
) -> Tensor:
    """Return the noise prediction (n, C, h, w) corrected by the gradient, one picture at a time.

    `rows` prepares the attention processors for each of the calls.
    """
    a_t = schedulers.signal(trajectory.scheduler, trajectory.timestep)
    first = next(part for part in call.rows if part.trajectory is trajectory)
    ascents = [_ascent(x, asked, a_t, _single(call, first, i), rows, of) for i, x in enumerate(trajectory.latents)]
    return math.corrected(noise, torch.cat(ascents), a_t)


def _single(call: DenoiserCall, half: Rows, i: int) -> DenoiserCall:
    """Return the part of a call that is picture i of one half: the unconditional one, where there is guidance."""
    row = slice(half.start + i, half.start + i + 1)
    return DenoiserCall(
        sample=call.sample[row],
        timestep=call.timestep if call.timestep.ndim == 0 else call.timestep[row],
        condition=call.condition.select(row),
        rows=(Rows(half.trajectory, half.conditional, 0, 1),),
        inputs={name: _rows_of(value, row) for name, value in call.inputs.items()},
    )


def _rows_of(residuals: Any, row: slice) -> Any:
    return tuple(r[row] for r in residuals) if isinstance(residuals, tuple) else residuals[row]


def _ascent(x_t: Tensor, asked: Guidance, a_t: float, call: DenoiserCall, rows: Hooks, of: Backbone) -> Tensor:
    """Return g = -dL/dx_t (1, C, h, w) through UNet and VAE; the ControlNet's residuals are taken as they are."""
    rows.before_predict(call)
    with torch.enable_grad():
        x = x_t[None].detach().requires_grad_(True)
        eps = of.predict(replace(call, sample=x.to(call.sample.dtype))).to(x)
        picture = of.decode(math.mixed(math.clean(x, eps, a_t), x, a_t))
        style, content = asked.descriptor(math.judged(picture, asked.descriptor.side))
        L = math.loss(style, content, asked.references, asked.scales)
        return -torch.autograd.grad(L, x)[0]
