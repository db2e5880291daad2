"""CSGO: style attention in UNet and ControlNet, the content held by the ControlNet. See math.py and spec.py."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from PIL import Image
from torch import nn

from workers.engine.backbones import controlnet, patches
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.controlnet import Control
from workers.engine.denoise import DenoiserCall, Hooks, Trajectory
from workers.engine.errors import Refused
from workers.engine.images import to_unit
from workers.engine.technique import GenerationInputs, PrepareContext, params_as, text_to_image
from workers.techniques.encoder import content_image
from workers.techniques.encoder.attention import ImageRows, ImageStream, Streams, streamed
from workers.techniques.encoder.csgo import math, network, prompts
from workers.techniques.encoder.csgo.math import Scales
from workers.techniques.encoder.csgo.network import Network
from workers.techniques.encoder.csgo.spec import SPEC, CSGOParams, Task

MULTIPLE = 16


@dataclass(frozen=True, eq=False)
class CSGOInputs:
    """What a trajectory wants of UNet and ControlNet; the defaults are those of plain text-to-image."""

    unet: Streams = ()
    controlnet: Streams = ()
    control: Control | None = None
    conv_in: nn.Module | None = None


class CSGO:
    """The technique; stateless."""

    spec = SPEC

    def batch_key(self, inputs: GenerationInputs, backbone: Backbone) -> Hashable | None:
        """Batches with every request of its size whose attentions see as many tokens, whatever task and scales."""
        params = params_as(inputs, CSGOParams)
        scales = scales_of(inputs, params)
        active = bool(scales.delta_c), bool(scales.lambda_c), bool(scales.lambda_s)
        size = content_image.result_size(inputs, params.fit, MULTIPLE)
        return backbone.name, size, params.num_style_tokens if any(active) else 0, active[1:]

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return text-to-image at the content's size, with what its attentions see and what its ControlNet holds.

        Raises Refused for a task without its content image or prompt, WeightsMissing with the command that fetches
        what is not installed.
        """
        params = params_as(inputs, CSGOParams)
        check(inputs, params)
        content = content_of(inputs, params)
        sized = replace(inputs, width=content.width, height=content.height)
        trajectory = text_to_image(sized, context, sampler=params.sampler)
        scales = scales_of(inputs, params)
        off = not (scales.delta_c or scales.lambda_c or scales.lambda_s)
        trajectory.extra = CSGOInputs() if off else _asked(inputs.pictures.styles[0], content, scales, params, context)
        return trajectory

    def prepare_style(self, inputs: GenerationInputs, context: PrepareContext) -> None:
        """Let the encoder see the style picture. Raises as `prepare`."""
        params = params_as(inputs, CSGOParams)
        if len(inputs.pictures.styles) != 1:
            raise Refused(f"csgo takes one style image, not {len(inputs.pictures.styles)}")
        if inputs.strength * params.style_scale:
            own = network.get_or_load(network.csgo_files(params.num_style_tokens, context), context.backbone)
            for image in (inputs.pictures.styles[0], None):
                prompts.seen("style", image, own, context)

    @contextmanager
    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
        """Let the cross-attentions of both networks see the pictures, and add the ControlNet's residuals."""
        wanted: list[CSGOInputs] = [trajectory.extra for trajectory in trajectories]
        net = next((asked.control.net for asked in wanted if asked.control is not None), None)
        with ExitStack() as stack:
            if (conv_in := wanted[0].conv_in) is not None:
                stack.enter_context(patches.forward([backbone.denoiser.conv_in], lambda _: conv_in.forward))
            unet = stack.enter_context(streamed(backbone.denoiser, trajectories, lambda t: t.extra.unet))
            own = None
            if net is not None:
                controlled = [trajectory for trajectory in trajectories if trajectory.extra.control is not None]
                own = stack.enter_context(streamed(net, controlled, lambda t: t.extra.controlnet))
            yield CSGOHooks(unet, own)


class CSGOHooks(Hooks):
    """Lays out what the rows of each call see in the UNet, and in the ControlNet if there is one."""

    def __init__(self, unet: ImageRows, net: ImageRows | None) -> None:
        self._unet = unet
        self._net = net

    def before_predict(self, call: DenoiserCall) -> None:
        """Prepare the UNet's attentions, run the ControlNet."""
        self._unet.before_predict(call)
        if self._net is not None:
            controlnet.add(call, lambda trajectory: trajectory.extra.control, before=self._net.before_predict)


def task_of(inputs: GenerationInputs, params: CSGOParams) -> Task:
    """Return the task asked for, or the one that the pictures suggest."""
    return params.task or ("text_driven" if inputs.pictures.content is None else "image_driven")


def scales_of(inputs: GenerationInputs, params: CSGOParams) -> Scales:
    """Return the scales of a request."""
    return math.scales(
        task_of(inputs, params),
        inputs.strength,
        delta_c=params.controlnet_conditioning_scale,
        lambda_c=params.content_scale,
        lambda_s=params.style_scale,
        content_in_unet=params.content_in_unet,
    )


def check(inputs: GenerationInputs, params: CSGOParams) -> None:
    """Raise Refused when the task lacks what it is about."""
    task = task_of(inputs, params)
    if len(inputs.pictures.styles) != 1:
        raise Refused(f"csgo takes one style image, not {len(inputs.pictures.styles)}")
    if task != "text_driven" and inputs.pictures.content is None:
        raise Refused(f"task {task} paints a content_image again: give one, or use task text_driven")
    if task != "image_driven" and not all(prompt.strip() for prompt in inputs.prompts):
        raise Refused(f"task {task} makes what the prompt says: give a prompt")


def content_of(inputs: GenerationInputs, params: CSGOParams) -> Image.Image:
    """Return the content picture at the result's size; black, as in the authors' demo, when there is none."""
    if inputs.pictures.content is None:
        return Image.new("RGB", (inputs.width, inputs.height))
    return content_image.fitted(inputs, params.fit, MULTIPLE, Image.Resampling.BICUBIC)


def _asked(
    style: Image.Image, content: Image.Image, scales: Scales, params: CSGOParams, context: PrepareContext
) -> CSGOInputs:
    backbone = context.backbone
    own = network.get_or_load(network.csgo_files(params.num_style_tokens, context), backbone)
    if scales.lambda_c and not own.content_in_unet:
        raise Refused(f"{own.files.adapter.name} has no content adapters for the UNet: leave content_in_unet out")
    unet, net = _streams(style, content, scales, own, context)
    pixels = to_unit(content).to(backbone.device, backbone.dtype)
    control = Control(own.controlnet, pixels, scales.delta_c) if scales.delta_c else None
    return CSGOInputs(unet, net, control, own.conv_in)


def _streams(
    style: Image.Image, content: Image.Image, scales: Scales, own: Network, context: PrepareContext
) -> tuple[Streams, Streams]:
    """Return what UNet and ControlNet see: content and style, each in layers of its own."""
    unet: list[ImageStream] = []
    net: list[ImageStream] = []
    if scales.lambda_c:
        shown, nothing = (prompts.seen("content", image, own, context) for image in (content, None))
        unet.append(ImageStream(shown.unet, nothing.unet, dict.fromkeys(own.content_in_unet, scales.lambda_c)))
    if scales.lambda_s:
        shown, nothing = (prompts.seen("style", image, own, context) for image in (style, None))
        unet.append(ImageStream(shown.unet, nothing.unet, dict.fromkeys(own.style_in_unet, scales.lambda_s)))
        style_scales = dict.fromkeys(own.style_in_controlnet, scales.lambda_s)
        net.append(ImageStream(shown.controlnet, nothing.controlnet, style_scales))
    return tuple(unet), tuple(net)


TECHNIQUE = CSGO()
