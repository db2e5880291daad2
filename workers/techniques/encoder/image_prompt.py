"""From style images to what the attention is given: features, tokens, keys and values, each kept in the style cache."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from PIL import Image
from pydantic import JsonValue
from torch import Tensor

from workers.engine.cache.style_cache import key_of
from workers.engine.errors import Refused
from workers.engine.images import digest
from workers.engine.technique import GenerationInputs, PrepareContext
from workers.techniques.encoder import clip
from workers.techniques.encoder.adapter import Adapter, KeysValues
from workers.techniques.encoder.adapter_file import Kind
from workers.techniques.encoder.ip_adapter import math
from workers.techniques.encoder.params import EncoderParams
from workers.techniques.encoder.weights import AdapterFiles

VERSION = 1
"""Counts changes of the numbers this file computes; part of every key."""


@dataclass(frozen=True)
class FeatureEdit:
    """A change of the image embeddings (n, D) before they are projected. `facts` names it in cache keys."""

    facts: Mapping[str, JsonValue]
    apply: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class References:
    """The style images of a request that count, with weights that sum to 1."""

    images: tuple[Image.Image, ...]
    weights: tuple[float, ...]
    params: EncoderParams

    @property
    def groups(self) -> int:
        """How many times the adapter's tokens stand side by side."""
        return 1 if self.params.combine == "mean" else len(self.images)


def references(inputs: GenerationInputs, params: EncoderParams) -> References:
    """Return the style images whose weight is not 0."""
    pairs = [(image, w) for image, w in zip(inputs.pictures.styles, inputs.weights, strict=True) if w > 0]
    return References(tuple(image for image, _ in pairs), tuple(w for _, w in pairs), params)


def features(refs: References, adapter: Adapter, context: PrepareContext, *, of_style: bool = True) -> Tensor:
    """Return the images' features (n, D) or (n, L, H), float32; each image is encoded once."""
    encoder, kind, fit = adapter.encoder_fingerprint, adapter.kind, refs.params.fit
    return torch.cat(
        [encoded(image, adapter.files, encoder, kind, context, fit=fit, of_style=of_style) for image in refs.images]
    )


def encoded(
    image: Image.Image,
    files: AdapterFiles,
    encoder: str,
    kind: Kind,
    context: PrepareContext,
    *,
    fit: clip.Fit = "crop",
    of_style: bool = True,
) -> Tensor:
    """Return one image's features (1, D) or (1, L, H), float32, once encoded; `encoder` names the weights in keys."""
    key = key_of(
        what="image features",
        version=VERSION,
        encoder=encoder,
        kind=kind,
        fit=fit,
        image=digest(image),
        dtype=str(context.backbone.dtype),
    )

    def build() -> dict[str, Tensor]:
        vision = clip.get_image_encoder(files, context.backbone)
        return {"features": vision.features(vision.pixels([image], fit), kind)}

    return context.cache.get(key, build, of_style=of_style)["features"].to(context.backbone.device)


def tokens(
    refs: References,
    adapter: Adapter,
    context: PrepareContext,
    edit: FeatureEdit | None = None,
    *,
    of_style: bool = True,
) -> Tensor:
    """Return the image prompt's tokens (groups * tokens, C).

    Raises Refused for what is not defined for plus adapters: a mean embedding, or an edit of it.
    """
    if adapter.kind == "plus" and (edit is not None or (refs.params.combine == "mean" and len(refs.images) > 1)):
        asked = "content subtraction" if edit is not None else "params.combine mean"
        raise Refused(f"{asked} is not defined for plus adapters, which read patches; use params.adapter base")
    e = features(refs, adapter, context, of_style=of_style)
    if refs.params.combine == "mean" and len(refs.images) > 1:
        e = math.mean(e, refs.weights)
    if edit is not None:
        e = edit.apply(e)
    return adapter.project(e).flatten(0, 1)


def unconditional_tokens(adapter: Adapter, context: PrepareContext) -> Tensor:
    """Return the tokens (tokens, C) of no image: of the zero embedding, or of zero pixels seen by the encoder."""
    if adapter.kind == "base":
        nothing = torch.zeros(1, adapter.image_config.projection_dim)
    else:
        nothing = clip.get_image_encoder(adapter.files, context.backbone).zero_pixels()
    return adapter.project(nothing).flatten(0, 1)


def conditional(
    refs: References,
    adapter: Adapter,
    context: PrepareContext,
    edit: FeatureEdit | None = None,
    *,
    of_style: bool = True,
) -> KeysValues:
    """Return every layer's keys and values of the images, built once; `of_style` says whether they are a style."""
    key = key_of(
        what="image keys and values",
        version=VERSION,
        adapter=adapter.fingerprint,
        encoder=adapter.encoder_fingerprint,
        fit=refs.params.fit,
        combine=refs.params.combine,
        images=[digest(image) for image in refs.images],
        weights=list(refs.weights),
        edit=None if edit is None else dict(edit.facts),
        dtype=str(context.backbone.dtype),
    )

    def build() -> KeysValues:
        found = adapter.keys_values(tokens(refs, adapter, context, edit, of_style=of_style))
        if refs.groups == 1:
            return found
        return {name: torch.stack([k, math.weighed(v, refs.weights)]) for name, (k, v) in found.items()}

    return _placed(context.cache.get(key, build, of_style=of_style), context)


def unconditional(groups: int, adapter: Adapter, context: PrepareContext) -> KeysValues:
    """Return every layer's keys and values of no image, as many tokens as the conditional half has."""
    key = key_of(
        what="no-image keys and values",
        version=VERSION,
        adapter=adapter.fingerprint,
        encoder=adapter.encoder_fingerprint,
        dtype=str(context.backbone.dtype),
    )
    found = context.cache.get(key, lambda: adapter.keys_values(unconditional_tokens(adapter, context)))
    return {name: both.repeat(1, groups, 1) for name, both in _placed(found, context).items()}


def _placed(found: Mapping[str, Tensor], context: PrepareContext) -> KeysValues:
    return {name: tensor.to(context.backbone.device) for name, tensor in found.items()}
