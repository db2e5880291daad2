"""InstantStyle-Plus: from the inverted content, held by ControlNet and content adapter, in the style. See math.py."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from workers.engine import schedulers
from workers.engine.backbones import controlnet
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.controlnet import Control
from workers.engine.denoise import DenoiserCall, Hooks, Trajectory
from workers.engine.errors import Refused
from workers.engine.images import to_unit
from workers.engine.technique import GenerationInputs, PrepareContext, check_size, params_as
from workers.techniques.encoder import adapter, blocks, content_image, image_prompt
from workers.techniques.encoder.adapter import Adapter
from workers.techniques.encoder.attention import ImageRows, ImageStream, Streams, streamed
from workers.techniques.encoder.image_prompt import References
from workers.techniques.encoder.instantstyle_plus import guidance, inversion, math
from workers.techniques.encoder.instantstyle_plus.guidance import Guidance
from workers.techniques.encoder.instantstyle_plus.inversion import RenoiseConfig
from workers.techniques.encoder.instantstyle_plus.spec import SPEC, InstantStylePlusParams
from workers.techniques.encoder.params import EncoderParams
from workers.techniques.encoder.weights import adapter_files, installed_path

CONTROLNET = "controlnet-tile-sdxl"
MULTIPLE = 64
DDIM = {"timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False}


@dataclass(frozen=True, eq=False)
class PlusInputs:
    """What a trajectory sees, what holds it, and what guides it."""

    streams: Streams
    control: Control | None
    guidance: Guidance | None


class InstantStylePlus:
    """The technique; stateless. `invert` gives the content's inverted latents (1, C, h, w)."""

    spec = SPEC

    def __init__(self, invert: Any = inversion.inverted) -> None:
        self._invert = invert

    def batch_key(self, inputs: GenerationInputs, backbone: Backbone) -> Hashable | None:
        """Batches with every request of its size whose attentions see as many tokens, whatever is shown or guided."""
        params = params_as(inputs, InstantStylePlusParams)
        active = bool(params.scale_content), bool(inputs.strength * params.scale_style)
        size = content_image.result_size(inputs, params.fit, MULTIPLE)
        return backbone.name, size, params.adapter if any(active) else None, active

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return the inverted content, with what it sees and what holds it.

        Raises Refused when a picture is missing or the base model does not predict noise, WeightsMissing with the
        command that fetches what is not installed.
        """
        params, backbone = params_as(inputs, InstantStylePlusParams), context.backbone
        style, content = _pictures(inputs, params)
        width, height = content.size
        check_size(replace(inputs, width=width, height=height), backbone)
        config = renoise_config(inputs, params, backbone)
        asked = _asked(inputs, params, style, content, context)
        z = {prompt: self._invert(content, prompt, config, context) for prompt in dict.fromkeys(inputs.prompts)}
        positive, negative = backbone.condition(
            inputs.prompts, inputs.negative_prompt, guided=inputs.guidance_scale > 1, width=width, height=height
        )
        return Trajectory(
            latents=torch.cat([z[prompt] for prompt in inputs.prompts]),
            scheduler=schedulers.build("ddim", config.scheduler_config, inputs.steps),
            positive=positive,
            negative=negative,
            guidance_scale=inputs.guidance_scale,
            seeds=inputs.seeds,
            extra=asked,
        )

    def prepare_style(self, inputs: GenerationInputs, context: PrepareContext) -> None:
        """Let the encoders see the style picture. Raises as `prepare`."""
        params = params_as(inputs, InstantStylePlusParams)
        if len(inputs.pictures.styles) != 1:
            raise Refused("instantstyle-plus needs one style image")
        [style] = inputs.pictures.styles
        if s := inputs.strength * params.scale_style:
            found = adapter.get_or_load(adapter_files(params.adapter, context), context.backbone)
            _stream(style, s, math.STYLE, found, context, of_style=True)
        if inputs.strength * params.style_guidance_scale:
            guidance.described(style, guidance.descriptor(context), context, of_style=True)

    @contextmanager
    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
        """Let the cross-attentions see the pictures, add the ControlNet's residuals and the guidance."""
        with ExitStack() as stack:
            rows = stack.enter_context(streamed(backbone.denoiser, trajectories, lambda t: t.extra.streams))
            yield PlusHooks(rows, backbone, gradients=any(t.extra.guidance is not None for t in trajectories))


class PlusHooks(Hooks):
    """Image attention, ControlNet and guidance around each UNet call."""

    def __init__(self, rows: ImageRows, backbone: Backbone, *, gradients: bool) -> None:
        self._rows = rows
        self._backbone = backbone
        self.wants_gradients = gradients

    def before_predict(self, call: DenoiserCall) -> None:
        """Prepare the attentions, run the ControlNet, which sees text only."""
        self._rows.before_predict(call)
        controlnet.add(call, lambda trajectory: trajectory.extra.control)

    def after_guidance(self, trajectory: Trajectory, noise: Tensor, call: DenoiserCall) -> Tensor:
        """Return the prediction, corrected for a request that is guided by CSD."""
        asked: Guidance | None = trajectory.extra.guidance
        if asked is None:
            return noise
        return guidance.guided(trajectory, asked, noise, call, self._rows, self._backbone)


def renoise_config(inputs: GenerationInputs, params: InstantStylePlusParams, backbone: Backbone) -> RenoiseConfig:
    """Return how the content is inverted: on the model's own noise levels. Raises Refused for other predictions."""
    scheduler_config = {**backbone.scheduler_config, **DDIM, **(inputs.scheduler_config or {})}
    scheduler_config["_use_default_values"] = [
        name for name in scheduler_config.get("_use_default_values", ()) if name not in DDIM
    ]
    schedulers.require_noise_prediction(scheduler_config, SPEC.name, backbone.name)
    steps = params.num_inversion_steps or inputs.steps
    return RenoiseConfig(scheduler_config, steps, params.num_renoise_steps, params.inversion_seed)


def _pictures(inputs: GenerationInputs, params: InstantStylePlusParams) -> tuple[Image.Image, Image.Image]:
    """Return style picture, and content picture at the result's size."""
    pictures = inputs.pictures
    if len(pictures.styles) != 1 or pictures.content is None:
        raise Refused("instantstyle-plus needs one style image and a content_image")
    bilinear = Image.Resampling.BILINEAR
    return pictures.styles[0], content_image.fitted(inputs, params.fit, MULTIPLE, bilinear, twice=True)


def _asked(
    inputs: GenerationInputs,
    params: InstantStylePlusParams,
    style: Image.Image,
    content: Image.Image,
    context: PrepareContext,
) -> PlusInputs:
    scales = inputs.strength * params.style_guidance_scale, params.content_guidance_scale
    return PlusInputs(
        streams=_streams(inputs, params, style, content, context),
        control=_control(content, params.controlnet_conditioning_scale, context),
        guidance=guidance.guidance(style, content, scales, context),
    )


def _streams(
    inputs: GenerationInputs,
    params: InstantStylePlusParams,
    style: Image.Image,
    content: Image.Image,
    context: PrepareContext,
) -> Streams:
    """Return the content seen weakly in all blocks, and the style in its own block, through one adapter."""
    wanted = [
        (content, params.scale_content, math.CONTENT, False),
        (style, inputs.strength * params.scale_style, math.STYLE, True),
    ]
    seen = [each for each in wanted if each[1]]
    if not seen:
        return ()
    found = adapter.get_or_load(adapter_files(params.adapter, context), context.backbone)
    return tuple(_stream(image, s, target, found, context, of_style=own) for image, s, target, own in seen)


def _stream(
    image: Image.Image, s: float, target: Sequence[str], found: Adapter, context: PrepareContext, *, of_style: bool
) -> ImageStream:
    refs = References((image,), (1.0,), EncoderParams())
    return ImageStream(
        conditional=image_prompt.conditional(refs, found, context, of_style=of_style),
        unconditional=image_prompt.unconditional(1, found, context),
        scales=dict.fromkeys(blocks.selected(found.layers, target), s),
    )


def _control(content: Image.Image, scale: float, context: PrepareContext) -> Control | None:
    if not scale:
        return None
    backbone = context.backbone
    folder = installed_path(CONTROLNET, CONTROLNET, context)
    net = backbone.get_or_load(f"controlnet {folder}", lambda: controlnet.load(folder, backbone))
    return Control(net, to_unit(content).to(backbone.device, backbone.dtype), scale)


TECHNIQUE = InstantStylePlus()
