"""FLUX.1 Fill: the model reads the picture without what is repainted, and the mask. See spec.py for the parameters."""

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

from workers.contract.spec import Spec
from workers.engine.backbones.base import Backbone
from workers.engine.denoise import Hooks, Trajectory
from workers.engine.technique import GenerationInputs, PrepareContext, params_as
from workers.techniques import canvas
from workers.techniques.edit.fill.spec import SPEC, FillParams
from workers.techniques.flux import Encode, encode_mean, flux_trajectory, masked_channels, read_beside


@dataclass(frozen=True)
class Fill:
    """The technique; stateless. `encode` is how pictures become latents."""

    encode: Encode = encode_mean
    spec: ClassVar[Spec] = SPEC

    def batch_key(self, inputs: GenerationInputs, backbone: Backbone) -> Hashable | None:
        """Batches with its size and length of text on the same model."""
        params = params_as(inputs, FillParams)
        return backbone.name, inputs.width, inputs.height, params.max_sequence_length

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return what paints under the mask. Raises Refused without mask or place."""
        params = params_as(inputs, FillParams)
        filled = canvas.filled(inputs, params.left, params.top, params.overlap)
        trajectory = flux_trajectory(
            inputs,
            context,
            text_tokens=params.max_sequence_length,
            picture=filled.picture,
            strength=inputs.strength,
            encode=self.encode,
        )
        read_beside(trajectory, masked_channels(filled, context, self.encode))
        if params.keep == "paste":
            trajectory.finish = filled.keep
        return trajectory

    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> AbstractContextManager[Hooks]:
        """Change nothing."""
        return nullcontext(Hooks())


TECHNIQUE = Fill()
