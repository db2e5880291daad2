"""Redux with FLUX.1 Fill: the style image on the canvas, its tokens behind the prompt. See spec.py."""

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from PIL import Image
from torch import Tensor

from workers.contract.spec import Spec
from workers.engine.backbones.base import Backbone
from workers.engine.denoise import Hooks, Trajectory
from workers.engine.errors import Refused
from workers.engine.technique import GenerationInputs, PrepareContext, params_as
from workers.techniques import canvas
from workers.techniques.encoder import redux_attention
from workers.techniques.encoder.redux_attention import ReferenceTokens
from workers.techniques.encoder.redux_fill.spec import SPEC, ReduxFillParams
from workers.techniques.encoder.redux_tokens import Reduction, see, tokens_of
from workers.techniques.flux import Encode, encode_mean, flux_trajectory, masked_channels, read_beside


@dataclass(frozen=True)
class ReduxFill:
    """The technique; stateless. `encode` is how pictures become latents."""

    encode: Encode = encode_mean
    spec: ClassVar[Spec] = SPEC

    def batch_key(self, inputs: GenerationInputs, backbone: Backbone) -> Hashable | None:
        """Batches with what has as many tokens on the same model and size."""
        params = params_as(inputs, ReduxFillParams)
        tokens = (params.max_sequence_length, params.downsampling_factor, inputs.strength > 0)
        weakened = 0 < inputs.strength < 1
        return backbone.name, *params.denoised_size(inputs.width, inputs.height), *tokens, weakened

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return what paints under the mask and sees the style image. Raises Refused without mask or place."""
        params = params_as(inputs, ReduxFillParams)
        filled = _canvas(inputs, params)
        wide = replace(inputs, width=filled.picture.width)
        trajectory = flux_trajectory(wide, context, text_tokens=params.max_sequence_length)
        trajectory.beside = trajectory.latents.shape[-1] * (wide.width - inputs.width) // wide.width
        of_style, shown = inputs.pictures.content is None, params.layout == "diptych"
        channels = masked_channels(filled, context, self.encode, of_style=of_style, shows_style=shown)
        read_beside(trajectory, channels)
        trajectory.extra = ReferenceTokens()
        if inputs.strength > 0:
            trajectory.extra = see(trajectory, [style_tokens(inputs, context)], [inputs.strength**2])
        trajectory.finish = partial(_target, filled, inputs.width)
        return trajectory

    def prepare_style(self, inputs: GenerationInputs, context: PrepareContext) -> None:
        """Put the style image's tokens and its canvas, where nothing else is on it, into the cache."""
        params = params_as(inputs, ReduxFillParams)
        style_tokens(inputs, context)
        if params.layout == "diptych":
            masked_channels(_canvas(inputs, params), context, self.encode, of_style=True)

    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> AbstractContextManager[Hooks]:
        """Weaken the attention to the style image's tokens."""
        return redux_attention.weakened(backbone, trajectories)


def style_tokens(inputs: GenerationInputs, context: PrepareContext) -> Tensor:
    """Return the tokens (tokens, width) of the style image. Raises WeightsMissing without Redux."""
    reduction = Reduction(params_as(inputs, ReduxFillParams).downsampling_factor)
    return tokens_of(inputs.pictures.styles[0], reduction, context)


def _canvas(inputs: GenerationInputs, params: ReduxFillParams) -> canvas.FillCanvas:
    if params.layout == "tokens":
        return canvas.filled(inputs, params.left, params.top, params.overlap)
    if params.outpaints:
        raise Refused("params.left and params.top take params.layout tokens")
    both = canvas.diptych(inputs)
    return both if inputs.strength > 0 else both.without_left(inputs.width)


def _target(filled: canvas.FillCanvas, width: int, painted: Image.Image) -> Image.Image:
    """Return the target with what was kept of it: the right part of a diptych."""
    left = painted.width - width
    return filled.from_left(left).keep(painted.crop((left, 0, *painted.size)))


TECHNIQUE = ReduxFill()
