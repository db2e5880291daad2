"""InstantStyle: IP-Adapter in the style blocks, with the content's text embedding subtracted. See math.py, spec.py."""

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager

from workers.engine.backbones.stable_diffusion import Backbone
from workers.engine.denoise import Hooks, Trajectory
from workers.engine.technique import Bench, Order, knobs
from workers.techniques.encoder import attention, content, text_driven
from workers.techniques.encoder.adapter import Adapter
from workers.techniques.encoder.image_prompt import FeatureEdit
from workers.techniques.encoder.instantstyle import math
from workers.techniques.encoder.instantstyle.spec import SPEC, InstantStyleParams


class InstantStyle:
    """The technique; stateless."""

    spec = SPEC

    def batch_key(self, order: Order, backbone: Backbone) -> Hashable | None:
        """Batches with equally many style images on the same model and size, whatever blocks and texts."""
        return text_driven.batch_key(order, knobs(order, InstantStyleParams), backbone)

    def prepare(self, order: Order, bench: Bench) -> Trajectory:
        """Return text-to-image that sees the style images in the style blocks; plain exactly at strength 0.

        Raises WeightsMissing without the adapter, or without the text tower that content subtraction needs; Refused
        for knobs it cannot follow.
        """
        params = knobs(order, InstantStyleParams)
        return text_driven.prepare(
            order,
            params,
            bench,
            target_blocks=params.target_blocks or math.target_blocks(params.mode, bench.backbone.base),
            edit=lambda adapter: subtraction(params, adapter, bench),
        )

    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> AbstractContextManager[Hooks]:
        """Let the selected cross-attentions see the images."""
        return attention.image_attention(backbone, trajectories)


def subtraction(params: InstantStyleParams, adapter: Adapter, bench: Bench) -> FeatureEdit | None:
    """Return the content subtraction a request asks for; None without a text, or with scale 0."""
    text, s = params.neg_content_prompt.strip(), params.neg_content_scale
    if not text or s == 0:
        return None
    source = content.text_source(adapter, bench)
    return FeatureEdit(
        facts={"subtracted": text, "scale": s, "tower": source.fingerprint},
        apply=lambda e: math.subtracted(e, source.embedding(text, bench), s),
    )


TECHNIQUE = InstantStyle()
