"""What techniques on FLUX.1 share: the trajectory from a prompt, on a picture or not, and what is read beside it."""

import hashlib
from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor

from workers.engine.backbones.flux import Flux, with_channels
from workers.engine.cache.style_cache import key_of
from workers.engine.denoise import Trajectory
from workers.engine.errors import Refused
from workers.engine.images import to_signed
from workers.engine.noise import INITIAL
from workers.engine.technique import GenerationInputs, PrepareContext, check_size
from workers.techniques.canvas import FillCanvas

Encode = Callable[[Flux, Tensor, str], Tensor]
"""Returns the latents of a picture (1, 3, h, w) in -1..1; the name says which picture it is, for recorded draws."""
CELL = 8
"""Pixels of a latent cell along a side: each is a channel of the mask."""


def encode_mean(backbone: Flux, signed: Tensor, name: str) -> Tensor:
    """Return the latents of a picture, the posterior's mean: deterministic, so it can be kept."""
    return backbone.encode(signed)


def flux_trajectory(
    inputs: GenerationInputs,
    context: PrepareContext,
    *,
    true_cfg_scale: float = 1.0,
    text_tokens: int | None = None,
    picture: Image.Image | None = None,
    strength: float = 1.0,
    encode: Encode = encode_mean,
) -> Trajectory:
    """Return FLUX from the prompt, starting from noise or from a picture of the request's size.

    `strength` is how much of the schedule is run; at 1 the picture has no influence on the start. The request's
    guidance is the number that the model takes; `true_cfg_scale` is classifier-free guidance by the negative prompt.
    Raises Refused for a size or a length of text that the model was not made for.
    """
    backbone = context.backbone
    assert isinstance(backbone, Flux)
    check_size(inputs, backbone)
    if text_tokens is not None and text_tokens > backbone.text_tokens:
        most = backbone.text_tokens
        raise Refused(f"params.max_sequence_length is at most {most} on {backbone.name}, not {text_tokens}")
    size = {"width": inputs.width, "height": inputs.height}
    scheduler = backbone.build_scheduler(
        "euler", inputs.steps, config=inputs.scheduler_config, strength=strength, **size
    )
    positive, negative = backbone.condition(
        inputs.prompts,
        inputs.negative_prompt,
        guided=inputs.guided,
        embedded_guidance=inputs.guidance_scale,
        text_tokens=text_tokens,
        **size,
    )
    noise = inputs.noise.normal(INITIAL, backbone.latent_shape(**size)).to(backbone.device)
    latents = noise
    if picture is not None and strength < 1:
        latents = scheduler.add_noise(kept_latents(picture, "image", context, encode), noise)
    return Trajectory(latents, scheduler, positive, negative, true_cfg_scale, inputs.seeds)


def kept_latents(
    picture: Image.Image,
    name: str,
    context: PrepareContext,
    encode: Encode = encode_mean,
    *,
    hole: Tensor | None = None,
    of_style: bool = False,
    shows_style: bool = False,
) -> Tensor:
    """Return the latents of a picture (1, c, h, w), kept by its pixels when they are the posterior's mean.

    Where `hole` (1, 1, h, w) is 1 the picture is mid grey. `of_style` and `shows_style` are as in `RequestCache.get`.
    """
    backbone = context.backbone
    assert isinstance(backbone, Flux)
    signed = to_signed(picture) if hole is None else to_signed(picture) * (1 - hole)
    if encode is not encode_mean:
        return encode(backbone, signed, name)
    seen = hashlib.sha256(signed.numpy().tobytes()).hexdigest()
    key = key_of(what="flux latents", weights=backbone.fingerprint, size=picture.size, pixels=seen)
    kept = context.cache.get(
        key, lambda: {"latents": encode(backbone, signed, name)}, of_style=of_style, shows_style=shows_style
    )
    return kept["latents"].to(backbone.device)


def read_beside(trajectory: Trajectory, latents: Tensor) -> None:
    """Let the model read further latents (1, c, h, w) beside those it denoises, in both halves."""
    trajectory.positive = with_channels(trajectory.positive, latents)
    if trajectory.negative is not None:
        trajectory.negative = with_channels(trajectory.negative, latents)


def masked_channels(
    filled: FillCanvas,
    context: PrepareContext,
    encode: Encode = encode_mean,
    *,
    of_style: bool = False,
    shows_style: bool = False,
) -> Tensor:
    """Return what FLUX Fill reads (1, 16 + 64, h, w): the picture without what is repainted, and the mask.

    The mask is grey, 255 where the picture is repainted. `of_style` says that only style images are on the canvas,
    `shows_style` that one is.
    """
    hole = (_grey(filled.mask) >= 0.5).float()
    kept = kept_latents(
        filled.picture, "masked_image", context, encode, hole=hole, of_style=of_style, shows_style=shows_style
    )
    return torch.cat([kept, mask_cells(hole).to(kept)], dim=1)


def mask_cells(hole: Tensor) -> Tensor:
    """Return a mask (1, 1, H, W) as (1, 64, H/8, W/8): row and column within a cell as channels."""
    _, _, height, width = hole.shape
    cells = hole.view(1, height // CELL, CELL, width // CELL, CELL).permute(0, 2, 4, 1, 3)
    return cells.reshape(1, CELL * CELL, height // CELL, width // CELL)


def _grey(mask: Image.Image) -> Tensor:
    """Return a grey picture as float32 (1, 1, h, w) in 0..1."""
    pixels = torch.frombuffer(bytearray(mask.convert("L").tobytes()), dtype=torch.uint8)
    return pixels.view(1, 1, mask.height, mask.width).float() / 255
