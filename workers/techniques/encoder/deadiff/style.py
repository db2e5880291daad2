"""From a picture to the keys and values of the attentions it is shown to, built once per style."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from workers.engine.backbones.base import Backbone
from workers.engine.cache.style_cache import key_of
from workers.engine.images import digest
from workers.engine.technique import GenerationInputs, PrepareContext
from workers.techniques.encoder.deadiff import checkpoint as checkpoints
from workers.techniques.encoder.deadiff import math, reader
from workers.techniques.encoder.deadiff.checkpoint import DeadiffCheckpoint
from workers.techniques.encoder.deadiff.math import Side
from workers.techniques.encoder.deadiff.spec import SubjectText

VERSION = 1
"""Counts changes of the numbers this folder computes from a picture; part of every key."""
SIDES: Mapping[SubjectText, tuple[Side, ...]] = {
    "style": ("style",),
    "content": ("content",),
    "style & content": ("style", "content"),
}

KeysValues = dict[str, Tensor]
"""By layer name: keys and values in one tensor (2, image tokens, C)."""


def projections(checkpoint: DeadiffCheckpoint, backbone: Backbone) -> dict[str, tuple[Tensor, Tensor]]:
    """Return i_to_k and i_to_v (C, token width) by layer, resident beside the base model.

    Raises ModelUnusable, naming the key, when they are for another UNet.
    """

    def build() -> dict[str, tuple[Tensor, Tensor]]:
        tensors = checkpoints.added_tensors(checkpoint, backbone)
        placed = {name: tensor.to(backbone.device, backbone.dtype) for name, tensor in tensors.items()}
        names = {layer: checkpoints.added(layer) for layer in checkpoints.layers(backbone.denoiser)}
        return {layer: (placed[k], placed[v]) for layer, (k, v) in names.items()}

    found: dict[str, tuple[Tensor, Tensor]] = backbone.get_or_load(f"{checkpoint.file} projections", build)
    return found


def keys_values(
    inputs: GenerationInputs, subject_text: SubjectText, checkpoint: DeadiffCheckpoint, context: PrepareContext
) -> KeysValues:
    """Return keys and values of the request's picture, unweighted, for the layers that the subject text shows it to."""
    found: KeysValues = {}
    for side in SIDES[subject_text]:
        found |= _of_side(inputs, side, checkpoint, context)
    return found


def _of_side(
    inputs: GenerationInputs, side: Side, checkpoint: DeadiffCheckpoint, context: PrepareContext
) -> KeysValues:
    backbone, [image] = context.backbone, inputs.pictures.styles
    key = key_of(
        what="deadiff keys and values",
        version=VERSION,
        checkpoint=checkpoint.fingerprint,
        side=side,
        image=digest(image),
        dtype=str(backbone.dtype),
    )

    def build() -> KeysValues:
        tokens = reader.get_or_load(side, checkpoint, backbone).tokens(image)
        own = {layer: pair for layer, pair in projections(checkpoint, backbone).items() if math.side_of(layer) == side}
        return {layer: torch.stack([F.linear(tokens, k), F.linear(tokens, v)]) for layer, (k, v) in own.items()}

    return {layer: both.to(backbone.device) for layer, both in context.cache.get(key, build).items()}
