"""StyleAligned: the reference is run once alone, the pictures follow what it left behind. Formulas are in math.py."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from workers.engine.backbones import patches
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.controlnet import Control
from workers.engine.denoise import DenoiserCall, Hooks, Trajectory, advance, gather, guide
from workers.engine.errors import Refused
from workers.engine.technique import GenerationInputs, PrepareContext, params_as, text_to_image, text_to_image_batch_key
from workers.techniques.shared_attention.style_aligned import control, math
from workers.techniques.shared_attention.style_aligned.options import (
    Options,
    check_size,
    read_options,
    shared_layers,
    shift,
)
from workers.techniques.shared_attention.style_aligned.processors import (
    FullAttention,
    SharedAttention,
    group_norms,
    shared_norm,
)
from workers.techniques.shared_attention.style_aligned.reference import Draw, recorded, seeded, trajectory_of
from workers.techniques.shared_attention.style_aligned.reference_rows import ReferenceRows
from workers.techniques.shared_attention.style_aligned.roles import Follower, follower, reference
from workers.techniques.shared_attention.style_aligned.spec import SPEC, StyleAlignedParams


class StyleAligned:
    """The technique; stateless. `draw` makes the starting noise of a generated reference from its seed."""

    spec = SPEC

    def __init__(self, draw: Draw = seeded) -> None:
        self._draw = draw

    def batch_key(self, inputs: GenerationInputs, backbone: Backbone) -> Hashable | None:
        """Batches with every request of its size whose layers compute alike, whatever its style or strength."""
        params = params_as(inputs, StyleAlignedParams)
        shared = read_options(inputs, params, backbone.base) if inputs.strength > 0 else None
        return text_to_image_batch_key(inputs, backbone), shared, params.control

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return text-to-image whose pictures know their reference; plain at strength 0.

        Raises Refused for sizes, layers, offsets and pictures that the method cannot do, WeightsMissing for a
        ControlNet that is not installed.
        """
        params = params_as(inputs, StyleAlignedParams)
        trajectory = text_to_image(inputs, context)
        controlled = control.control(inputs, params, context)
        trajectory.extra = Follower(control=controlled)
        if inputs.strength > 0:
            trajectory.extra = self._following(inputs, params, context, controlled)
        return trajectory

    def _following(
        self, inputs: GenerationInputs, params: StyleAlignedParams, context: PrepareContext, controlled: Control | None
    ) -> Follower:
        _check(inputs, params, context.backbone)
        shared = read_options(inputs, params, context.backbone.base)

        def lone() -> Trajectory:
            return trajectory_of(inputs, params, context, controlled, self._draw)

        full = shared.full_attention_share
        features = None if full else recorded(inputs, params, context, shared, lone)
        return Follower(
            switches=shared,
            features=features,
            along=lone() if features is None else None,
            w=inputs.strength,
            scale=params.shared_score_scale,
            shift=math.reference_shift(0.0 if full else shift(inputs, params), inputs.strength),
            control=controlled,
        )

    @contextmanager
    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
        """Let self-attentions and GroupNorms share with each request's reference."""
        shared = follower(trajectories[0]).switches
        lineup = ReferenceRows()
        hooks = Following(lineup)
        with ExitStack() as stack:
            if shared is not None:
                unet = backbone.denoiser
                stack.enter_context(patches.attention_processors(unet, _processors(unet, lineup, shared)))
                norms = group_norms(unet) if shared.share_group_norm else {}
                stack.enter_context(patches.forward(norms, shared_norm(norms, lineup)))
                stack.enter_context(patches.forward_hook(unet, hooks.see))
            yield hooks


class Following(Hooks):
    """Arranges each UNet call, and takes along the references that were not recorded."""

    def __init__(self, lineup: ReferenceRows) -> None:
        self._lineup = lineup
        self._call: DenoiserCall | None = None
        self._predicted: Tensor | None = None

    def before_predict(self, call: DenoiserCall) -> None:
        """Add the rows of references that go along, note who follows whom, add control."""
        followers = list(dict.fromkeys(rows.trajectory for rows in call.rows))
        along = [reference for one in followers if (reference := follower(one).along) is not None]
        if along:
            whole = gather([*followers, *along])
            call.sample, call.timestep, call.condition, call.rows = (
                whole.sample,
                whole.timestep,
                whole.condition,
                whole.rows,
            )
        self._call = call
        self._lineup.arrange(call)
        control.add(call)

    def see(self, unet: Any, args: Any, kwargs: Any, output: tuple[Tensor]) -> None:
        """Keep the UNet's prediction (a forward hook): the loop knows nothing of the added rows."""
        self._predicted = output[0]

    def after_step(self, trajectory: Trajectory) -> None:
        """Make the step of a reference that goes along."""
        along = follower(trajectory).along
        if along is not None:
            assert self._call is not None
            assert self._predicted is not None
            advance(along, guide(self._predicted[self._call.of(along)], along))
            reference(along).correct(along)


def _check(inputs: GenerationInputs, params: StyleAlignedParams, backbone: Backbone) -> None:
    if len(inputs.pictures.styles) > 1:
        raise Refused(f"style-aligned follows one style image, not {len(inputs.pictures.styles)}")
    if not inputs.pictures.styles and params.reference_prompt is None:
        raise Refused("style-aligned needs a style image, or params.reference_prompt to make a reference from")
    check_size(inputs, backbone)
    shared_layers(backbone.denoiser, params.only_self_level)


def _processors(unet: Any, lineup: ReferenceRows, shared: Options) -> dict[str, Any]:
    layers = shared_layers(unet, shared.only_self_level)
    if shared.full_attention_share:
        return {f"{layer}.processor": FullAttention(lineup) for layer in layers}
    return {f"{layer}.processor": SharedAttention(layer, lineup, shared) for layer in layers}


TECHNIQUE = StyleAligned()
