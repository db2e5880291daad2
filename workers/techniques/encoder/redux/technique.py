"""FLUX.1 Redux: the tokens of the style images stand behind the prompt's. See spec.py for the parameters."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from workers.contract.spec import Spec
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.flux import Flux
from workers.engine.denoise import Hooks, Trajectory
from workers.engine.errors import Refused
from workers.engine.images import resized
from workers.engine.technique import GenerationInputs, PrepareContext, params_as
from workers.techniques.encoder import redux_attention
from workers.techniques.encoder.redux.spec import SPEC, ReduxParams
from workers.techniques.encoder.redux_attention import ReferenceTokens
from workers.techniques.encoder.redux_tokens import Reduction, blended, see, tokens_of
from workers.techniques.flux import Encode, encode_mean, flux_trajectory
from workers.techniques.flux_control import ControlBranches, branches_of, see_map
from workers.techniques.joint_attention import strengths


@dataclass(frozen=True)
class ReduxState(ReferenceTokens):
    """What a request keeps for its denoising: the references' place and strength, the LoRA for its map."""

    branches: ControlBranches | None = None


@dataclass(frozen=True)
class Redux:
    """The technique; stateless. `encode` is how a content picture becomes latents."""

    encode: Encode = encode_mean
    spec: ClassVar[Spec] = SPEC

    def batch_key(self, inputs: GenerationInputs, backbone: Backbone) -> Hashable | None:
        """Batches with what has as many tokens on the same model and size, and a weaker attention to some or not."""
        params = params_as(inputs, ReduxParams)
        assert isinstance(backbone, Flux)
        grids = len(inputs.pictures.styles) if params.combine == "concat" else 1
        text = params.max_sequence_length or backbone.text_tokens
        tokens = (text, grids, params.downsampling_factor) if inputs.strength > 0 else (text,)
        weakened = inputs.strength > 0 and (inputs.guided or set(strengths(inputs, grids)) != {1.0})
        return backbone.name, inputs.width, inputs.height, tokens, weakened, params.control, params.control_scale

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return text-to-image, or image-to-image of a content picture, that sees the style images.

        At strength 0 their tokens are left out: plain exactly. Raises WeightsMissing without Redux.
        """
        params, content = params_as(inputs, ReduxParams), inputs.pictures.content
        if params.control is None and context.backbone.base == "flux-control":
            raise Refused("flux-control follows a map: params.control must be canny or depth, with a control_image")
        trajectory = flux_trajectory(
            inputs,
            context,
            true_cfg_scale=params.true_cfg_scale,
            text_tokens=params.max_sequence_length,
            picture=resized(content, inputs.width, inputs.height) if content is not None else None,
            strength=params.content_strength if content is not None else 1.0,
            encode=self.encode,
        )
        branches = None
        if params.control is not None:
            branches = branches_of(context, params.control, params.control_scale)
            see_map(trajectory, inputs, params, context, self.encode)
        references = ReferenceTokens()
        if inputs.strength > 0:
            tokens = reference_tokens(inputs, context)
            references = see(trajectory, tokens, strengths(inputs, len(tokens)))
        trajectory.extra = ReduxState(references.spans, references.strengths, branches)
        return trajectory

    def prepare_style(self, inputs: GenerationInputs, context: PrepareContext) -> None:
        """Put the style images' tokens into the cache."""
        reference_tokens(inputs, context)

    @contextmanager
    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
        """Weaken the attention to the style images' tokens, and follow a map by the LoRA for it."""
        branches: ControlBranches | None = trajectories[0].extra.branches  # the same for all: see batch_key
        with (
            branches.run(backbone) if branches is not None else nullcontext(),
            redux_attention.weakened(backbone, trajectories) as hooks,
        ):
            yield hooks


def reference_tokens(inputs: GenerationInputs, context: PrepareContext) -> list[Tensor]:
    """Return the tokens (tokens, width) of each style image, or of one sum of them with `blend`.

    Raises WeightsMissing without Redux.
    """
    params = params_as(inputs, ReduxParams)
    reduction = Reduction(params.downsampling_factor, params.downsampling_mode, params.fit)
    found = [tokens_of(image, reduction, context) for image in inputs.pictures.styles]
    if params.combine == "blend":
        return [blended(found, inputs.weights)]
    return found


TECHNIQUE = Redux()
