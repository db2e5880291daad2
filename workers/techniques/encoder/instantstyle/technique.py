"""InstantStyle: IP-Adapter in the style blocks, with the content's text embedding subtracted. See math.py, spec.py."""

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager

from workers.engine.backbones.base import Backbone
from workers.engine.denoise import Hooks, Trajectory
from workers.engine.technique import GenerationInputs, PrepareContext, params_as
from workers.techniques.encoder import attention, content, text_driven
from workers.techniques.encoder.adapter import Adapter
from workers.techniques.encoder.image_prompt import FeatureEdit
from workers.techniques.encoder.instantstyle import math
from workers.techniques.encoder.instantstyle.spec import SPEC, InstantStyleParams


class InstantStyle:
    """The technique; stateless."""

    spec = SPEC

    def batch_key(self, inputs: GenerationInputs, backbone: Backbone) -> Hashable | None:
        """Batches with equally many style images on the same model and size, whatever blocks and texts."""
        return text_driven.batch_key(inputs, params_as(inputs, InstantStyleParams), backbone)

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return text-to-image that sees the style images in the style blocks; plain exactly at strength 0.

        Raises WeightsMissing without the adapter, or without the text encoder that content subtraction needs; Refused
        for parameters it cannot follow.
        """
        params = params_as(inputs, InstantStyleParams)
        return text_driven.prepare(
            inputs,
            params,
            context,
            target_blocks=params.target_blocks or math.target_blocks(params.mode, context.backbone.base),
            edit=lambda adapter: subtraction(params, adapter, context),
        )

    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> AbstractContextManager[Hooks]:
        """Let the selected cross-attentions see the images."""
        return attention.image_attention(backbone, trajectories)


def subtraction(params: InstantStyleParams, adapter: Adapter, context: PrepareContext) -> FeatureEdit | None:
    """Return the content subtraction a request asks for; None without a text, or with scale 0."""
    text, s = params.neg_content_prompt.strip(), params.neg_content_scale
    if not text or s == 0:
        return None
    source = content.text_source(adapter, context)
    return FeatureEdit(
        facts={"subtracted": text, "scale": s, "tower": source.fingerprint},
        apply=lambda e: math.subtracted(e, source.embedding(text, context), s),
    )


TECHNIQUE = InstantStyle()
