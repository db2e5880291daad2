"""IP-Adapter: every selected cross-attention also attends to the style images. See spec.py for the parameters."""

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager

from workers.engine.backbones.base import Backbone
from workers.engine.denoise import Hooks, Trajectory
from workers.engine.technique import GenerationInputs, PrepareContext, params_as
from workers.techniques.encoder import attention, text_driven
from workers.techniques.encoder.ip_adapter.spec import SPEC, IPAdapterParams


class IPAdapter:
    """The technique; stateless."""

    spec = SPEC

    def batch_key(self, inputs: GenerationInputs, backbone: Backbone) -> Hashable | None:
        """Batches with equally many style images on the same model and size, whatever they show."""
        return text_driven.batch_key(inputs, params_as(inputs, IPAdapterParams), backbone)

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return text-to-image that sees the style images; plain exactly at strength 0.

        Raises WeightsMissing without the adapter, Refused for parameters it cannot follow.
        """
        params = params_as(inputs, IPAdapterParams)
        return text_driven.prepare(inputs, params, context, target_blocks=params.target_blocks)

    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> AbstractContextManager[Hooks]:
        """Let the selected cross-attentions see the images."""
        return attention.image_attention(backbone, trajectories)


TECHNIQUE = IPAdapter()
