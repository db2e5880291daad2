"""The life of a request that is driven by image attention; IP-Adapter and InstantStyle differ in blocks and edit."""

from collections.abc import Callable, Hashable, Sequence

from workers.engine.backbones.stable_diffusion import Backbone
from workers.engine.denoise import Trajectory
from workers.engine.technique import Bench, Order, plain, plain_key
from workers.techniques.encoder import adapter, blocks, image_prompt
from workers.techniques.encoder.adapter import Adapter
from workers.techniques.encoder.attention import Stream
from workers.techniques.encoder.image_prompt import FeatureEdit
from workers.techniques.encoder.params import EncoderParams
from workers.techniques.encoder.weights import locate


def batch_key(order: Order, params: EncoderParams, backbone: Backbone) -> Hashable:
    """Return what must be equal in a batch: model, size and number of image tokens. Styles and scales may differ."""
    groups = image_prompt.references(order, params).groups if order.strength * params.scale else 0
    return plain_key(order, backbone), params.adapter, groups


def prepare(
    order: Order,
    params: EncoderParams,
    bench: Bench,
    *,
    target_blocks: Sequence[str],
    edit: Callable[[Adapter], FeatureEdit | None] = lambda adapter: None,
) -> Trajectory:
    """Return plain text-to-image that will see the style images in the target blocks; plain exactly at strength 0.

    `edit` says how the image embeddings change before they are projected.
    """
    trajectory = plain(order, bench, sampler=params.sampler)
    s = order.strength * params.scale
    trajectory.extra = (_stream(order, params, bench, s, target_blocks, edit),) if s else ()
    return trajectory


def _stream(
    order: Order,
    params: EncoderParams,
    bench: Bench,
    s: float,
    target_blocks: Sequence[str],
    edit: Callable[[Adapter], FeatureEdit | None],
) -> Stream:
    found = adapter.resident(locate(params.adapter, bench), bench.backbone)
    layers = blocks.selected(found.layers, target_blocks)
    refs = image_prompt.references(order, params)
    return Stream(
        conditional=image_prompt.conditional(refs, found, bench, edit(found)),
        unconditional=image_prompt.unconditional(refs.groups, found, bench),
        scales=dict.fromkeys(layers, s),
    )
