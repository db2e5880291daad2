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
from workers.techniques.control_picture import control_picture
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
        options = read_options(inputs, params, backbone.base) if inputs.strength > 0 else None
        return text_to_image_batch_key(inputs, backbone), options, params.control

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return text-to-image whose pictures know their reference; plain at strength 0.

        Raises Refused for sizes, layers, offsets and pictures that the method cannot do, WeightsMissing for a
        ControlNet that is not installed.
        """
        params = params_as(inputs, StyleAlignedParams)
        trajectory = text_to_image(inputs, context)
        picture = control_picture(inputs, params, context)
        controlled = control.control(picture, params, context)
        trajectory.control_map = picture.shown if picture is not None else None
        trajectory.extra = Follower(control=controlled)
        if inputs.strength > 0:
            trajectory.extra = self._following(inputs, params, context, controlled)
        return trajectory

    def _following(
        self, inputs: GenerationInputs, params: StyleAlignedParams, context: PrepareContext, controlled: Control | None
    ) -> Follower:
        _check(inputs, params, context.backbone)
        options = read_options(inputs, params, context.backbone.base)

        def reference_only() -> Trajectory:
            return trajectory_of(inputs, params, context, controlled, self._draw)

        full = options.full_attention_share
        features = None if full else recorded(inputs, params, context, options, controlled, reference_only)
        return Follower(
            options=options,
            features=features,
            joint_reference=reference_only() if features is None else None,
            w=inputs.strength,
            scale=params.shared_score_scale,
            shift=math.reference_shift(0.0 if full else shift(inputs, params), inputs.strength),
            control=controlled,
        )

    @contextmanager
    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
        """Let self-attentions and GroupNorms share with each request's reference."""
        options = follower(trajectories[0]).options
        reference_rows = ReferenceRows()
        hooks = Following(reference_rows)
        with ExitStack() as stack:
            if options is not None:
                unet = backbone.denoiser
                processors = _processors(backbone, reference_rows, options)
                stack.enter_context(patches.attention_processors(unet, processors))
                norms = group_norms(unet) if options.share_group_norm else {}
                stack.enter_context(patches.forward(norms, shared_norm(norms, reference_rows)))
                stack.enter_context(patches.forward_hook(unet, hooks.see))
            yield hooks


class Following(Hooks):
    """Arranges each call, and denoises jointly the references that were not recorded."""

    def __init__(self, reference_rows: ReferenceRows) -> None:
        self._reference_rows = reference_rows
        self._call: DenoiserCall | None = None
        self._predicted: Tensor | None = None

    def before_predict(self, call: DenoiserCall) -> None:
        """Add the rows of joint references, note who follows whom, add control."""
        followers = list(dict.fromkeys(rows.trajectory for rows in call.rows))
        joint = [reference for one in followers if (reference := follower(one).joint_reference) is not None]
        if joint:
            whole = gather([*followers, *joint])
            call.sample, call.timestep, call.condition, call.rows = (
                whole.sample,
                whole.timestep,
                whole.condition,
                whole.rows,
            )
        self._call = call
        self._reference_rows.arrange(call)
        control.add(call)

    def see(self, unet: Any, args: Any, kwargs: Any, output: tuple[Tensor]) -> None:
        """Keep the UNet's prediction (a forward hook): the loop knows nothing of the added rows."""
        self._predicted = output[0]

    def after_step(self, trajectory: Trajectory) -> None:
        """Make the step of a joint reference."""
        joint = follower(trajectory).joint_reference
        if joint is not None:
            assert self._call is not None
            assert self._predicted is not None
            advance(joint, guide(self._predicted[self._call.of(joint)], joint))
            reference(joint).correct(joint)


def _check(inputs: GenerationInputs, params: StyleAlignedParams, backbone: Backbone) -> None:
    if len(inputs.pictures.styles) > 1:
        raise Refused(f"style-aligned follows one style image, not {len(inputs.pictures.styles)}")
    if not inputs.pictures.styles and params.reference_prompt is None:
        raise Refused("style-aligned needs a style image, or params.reference_prompt to make a reference from")
    check_size(inputs, backbone)
    shared_layers(backbone, params.only_self_level)


def _processors(backbone: Backbone, reference_rows: ReferenceRows, options: Options) -> dict[str, Any]:
    layers = shared_layers(backbone, options.only_self_level)
    if options.full_attention_share:
        return {f"{layer}.processor": FullAttention(reference_rows) for layer in layers}
    return {f"{layer}.processor": SharedAttention(layer, reference_rows, options) for layer in layers}


TECHNIQUE = StyleAligned()
