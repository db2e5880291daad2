"""The life of a request that is driven by image attention; IP-Adapter and InstantStyle differ in blocks and edit."""

from collections.abc import Callable, Hashable, Sequence

from workers.engine.backbones.base import Backbone
from workers.engine.denoise import Trajectory
from workers.engine.technique import GenerationInputs, PrepareContext, text_to_image, text_to_image_batch_key
from workers.techniques.encoder import adapter, blocks, image_prompt
from workers.techniques.encoder.adapter import Adapter
from workers.techniques.encoder.attention import ImageStream
from workers.techniques.encoder.image_prompt import FeatureEdit
from workers.techniques.encoder.params import EncoderParams
from workers.techniques.encoder.weights import adapter_files


def batch_key(inputs: GenerationInputs, params: EncoderParams, backbone: Backbone) -> Hashable:
    """Return what must be equal in a batch: model, size and number of image tokens. Styles and scales may differ."""
    groups = image_prompt.references(inputs, params).groups if inputs.strength * params.scale else 0
    return text_to_image_batch_key(inputs, backbone), params.adapter, groups


def prepare(
    inputs: GenerationInputs,
    params: EncoderParams,
    context: PrepareContext,
    *,
    target_blocks: Sequence[str],
    edit: Callable[[Adapter], FeatureEdit | None] = lambda adapter: None,
) -> Trajectory:
    """Return plain text-to-image that will see the style images in the target blocks; plain exactly at strength 0.

    `edit` says how the image embeddings change before they are projected.
    """
    trajectory = text_to_image(inputs, context, sampler=params.sampler)
    s = inputs.strength * params.scale
    trajectory.extra = (_stream(inputs, params, context, s, target_blocks, edit),) if s else ()
    return trajectory


def _stream(
    inputs: GenerationInputs,
    params: EncoderParams,
    context: PrepareContext,
    s: float,
    target_blocks: Sequence[str],
    edit: Callable[[Adapter], FeatureEdit | None],
) -> ImageStream:
    found = adapter.get_or_load(adapter_files(params.adapter, context), context.backbone)
    layers = blocks.selected(found.layers, target_blocks)
    refs = image_prompt.references(inputs, params)
    return ImageStream(
        conditional=image_prompt.conditional(refs, found, context, edit(found)),
        unconditional=image_prompt.unconditional(refs.groups, found, context),
        scales=dict.fromkeys(layers, s),
    )
