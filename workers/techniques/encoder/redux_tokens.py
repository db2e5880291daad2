"""A style image as tokens in the place of text: SigLIP's patches through Redux' projector, the grid made coarser."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import SiglipImageProcessorPil, SiglipVisionModel

from model_store.errors import ModelStoreError
from model_store.load.component import load_component
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.flux import with_tokens
from workers.engine.backbones.load import fingerprint
from workers.engine.cache.style_cache import key_of
from workers.engine.denoise import Trajectory
from workers.engine.errors import ModelUnusable
from workers.engine.images import digest
from workers.engine.memory import require
from workers.engine.residency.plan import weight_bytes
from workers.engine.technique import PrepareContext
from workers.techniques.encoder.redux_attention import ReferenceTokens

WEIGHTS = "flux1-redux"


class ReduxEncoder:
    """SigLIP and the projector, beside the base model's text encoders."""

    def __init__(self, tower: Any, projector: Any, processor: Any) -> None:
        self._tower = tower
        self._projector = projector
        self._processor = processor

    def pixels(self, image: Image.Image, fit: str) -> Tensor:
        """Return normalised pixel values (1, 3, S, S), float32 on the CPU."""
        rgb = image.convert("RGB")
        square = ImageOps.fit(rgb, (min(rgb.size),) * 2) if fit == "crop" else rgb
        return torch.as_tensor(self._processor(images=[square], return_tensors="pt").pixel_values)

    @torch.no_grad()
    def patches(self, pixels: Tensor) -> Tensor:
        """Return SigLIP's hidden states (1, tokens, width) after its final norm, without the pooling head."""
        placed = pixels.to(self._tower.device, self._tower.dtype)
        hidden: Tensor = self._tower(placed).last_hidden_state
        return hidden

    @torch.no_grad()
    def project(self, patches: Tensor) -> Tensor:
        """Return tokens as wide as T5's (1, tokens, width): W_down silu(W_up x + b) + b."""
        tokens: Tensor = self._projector(patches).image_embeds
        return tokens


def get_encoder(context: PrepareContext) -> ReduxEncoder:
    """Return Redux' encoder, resident beside the base model and shared with others that have it.

    Raises WeightsMissing, ModelUnusable when it is broken, or OutOfMemory.
    """
    folder, backbone = context.weights(WEIGHTS), context.backbone

    def build() -> ReduxEncoder:
        key = f"redux {folder} {backbone.encoder_device} {backbone.dtype}"
        shared: ReduxEncoder = backbone.shared.get_or_load(key, lambda: _load(folder, backbone))
        return shared

    encoder: ReduxEncoder = backbone.get_or_load(f"redux {folder}", build)
    return encoder


def _load(folder: Path, backbone: Backbone) -> ReduxEncoder:
    placed: dict[str, Any] = {"device": backbone.encoder_device, "dtype": backbone.dtype}
    try:
        size = sum(weight_bytes(folder / part, backbone.dtype) for part in ("image_encoder", "image_embedder"))
        require(size, backbone.encoder_device, what="FLUX.1 Redux", remedy="it needs more memory, or fewer models")
        tower = load_component(folder / "image_encoder", SiglipVisionModel, **placed)
        projector = load_component(folder / "image_embedder", ReduxImageEncoder, **placed)
        processor = SiglipImageProcessorPil.from_pretrained(folder / "feature_extractor", local_files_only=True)
    except (ModelStoreError, OSError) as broken:
        raise ModelUnusable(f"{folder} cannot be loaded as FLUX.1 Redux: {broken}") from broken
    return ReduxEncoder(tower, projector, processor)


def coarser(tokens: Tensor, factor: int, mode: str) -> Tensor:
    """Return tokens (1, side^2, width) interpolated as a square grid to round(side / factor), half to even."""
    if factor == 1:
        return tokens
    side = math.isqrt(tokens.shape[1])
    size = round(side / factor)
    grid = tokens.transpose(1, 2).unflatten(2, (side, side)).float()
    smooth = {"align_corners": False} if mode in ("bilinear", "bicubic") else {}
    small = interpolate(grid, size=(size, size), mode=mode, **smooth)
    return small.flatten(2).transpose(1, 2).to(tokens.dtype)


@dataclass(frozen=True)
class Reduction:
    """How a style image becomes tokens: what of it is seen, and how much coarser its grid becomes, by which mode."""

    factor: int = 1
    mode: str = "area"
    fit: str = "squash"


def tokens_of(image: Image.Image, reduction: Reduction, context: PrepareContext) -> Tensor:
    """Return the tokens (tokens, width) of a style image, kept by the picture. Raises as `get_encoder`."""
    facts = {
        "what": "redux tokens",
        "weights": fingerprint(context.weights(WEIGHTS)),
        "dtype": str(context.backbone.dtype),
        "image": digest(image),
        "reduction": [reduction.factor, reduction.mode, reduction.fit],
    }

    def build() -> dict[str, Tensor]:
        encoder = get_encoder(context)
        tokens = encoder.project(encoder.patches(encoder.pixels(image, reduction.fit)))
        return {"tokens": coarser(tokens, reduction.factor, reduction.mode)[0]}

    return context.cache.get(key_of(**facts), build)["tokens"].to(context.backbone.device)


def blended(tokens: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return sum_i w_i tokens_i, position by position; the weights sum to 1."""
    return torch.stack([weight * each for weight, each in zip(weights, tokens, strict=True)]).sum(dim=0)


def see(trajectory: Trajectory, tokens: Sequence[Tensor], strengths: Sequence[float]) -> ReferenceTokens:
    """Append the tokens of references to both halves; the unconditional one will attend to none of them.

    `strengths` are the factors s on the attention to each; returns where they stand.
    """
    begin, spans = trajectory.positive.text.shape[1], []
    for each in tokens:
        spans.append(slice(begin, begin + len(each)))
        begin += len(each)
    joined = torch.cat(list(tokens))
    trajectory.positive = with_tokens(trajectory.positive, joined)
    if trajectory.negative is not None:
        trajectory.negative = with_tokens(trajectory.negative, joined)
    return ReferenceTokens(tuple(spans), tuple(strengths))
