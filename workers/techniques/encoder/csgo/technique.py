"""CSGO: style attention in UNet and ControlNet, the content held by the ControlNet. See math.py and spec.py."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from PIL import Image
from torch import nn

from workers.engine.backbones import controlnet, patches
from workers.engine.backbones.controlnet import Control
from workers.engine.backbones.stable_diffusion import Backbone
from workers.engine.denoise import Hooks, Trajectory, UNetCall
from workers.engine.errors import Refused
from workers.engine.images import to_unit
from workers.engine.technique import Bench, Order, knobs, plain
from workers.techniques.encoder import content_image
from workers.techniques.encoder.attention import ImageRows, Stream, Streams, streamed
from workers.techniques.encoder.csgo import math, network, prompts
from workers.techniques.encoder.csgo.math import Scales
from workers.techniques.encoder.csgo.network import Network
from workers.techniques.encoder.csgo.spec import SPEC, CSGOParams, Task

MULTIPLE = 16


@dataclass(frozen=True, eq=False)
class Asked:
    """What a trajectory wants of UNet and ControlNet; the defaults are those of plain text-to-image."""

    unet: Streams = ()
    controlnet: Streams = ()
    control: Control | None = None
    conv_in: nn.Module | None = None


class CSGO:
    """The technique; stateless."""

    spec = SPEC

    def batch_key(self, order: Order, backbone: Backbone) -> Hashable | None:
        """Batches with every request of its size whose attentions see as many tokens, whatever task and scales."""
        params = knobs(order, CSGOParams)
        scales = scales_of(order, params)
        active = bool(scales.delta_c), bool(scales.lambda_c), bool(scales.lambda_s)
        size = content_image.result_size(order, params.fit, MULTIPLE)
        return backbone.name, size, params.num_style_tokens if any(active) else 0, active[1:]

    def prepare(self, order: Order, bench: Bench) -> Trajectory:
        """Return text-to-image at the content's size, with what its attentions see and what its ControlNet holds.

        Raises Refused for a task without its content image or prompt, WeightsMissing with the command that fetches
        what is not installed.
        """
        params = knobs(order, CSGOParams)
        check(order, params)
        content = content_of(order, params)
        sized = replace(order, width=content.width, height=content.height)
        trajectory = plain(sized, bench, sampler=params.sampler)
        scales = scales_of(order, params)
        off = not (scales.delta_c or scales.lambda_c or scales.lambda_s)
        trajectory.extra = Asked() if off else _asked(order.pictures.styles[0], content, scales, params, bench)
        return trajectory

    def prepare_style(self, order: Order, bench: Bench) -> None:
        """Let the encoder see the style picture. Raises as `prepare`."""
        params = knobs(order, CSGOParams)
        if len(order.pictures.styles) != 1:
            raise Refused(f"csgo takes one style image, not {len(order.pictures.styles)}")
        if order.strength * params.style_scale:
            own = network.resident(network.locate(params.num_style_tokens, bench), bench.backbone)
            for image in (order.pictures.styles[0], None):
                prompts.seen("style", image, own, bench)

    @contextmanager
    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
        """Let the cross-attentions of both networks see the pictures, and add the ControlNet's residuals."""
        wanted: list[Asked] = [trajectory.extra for trajectory in trajectories]
        net = next((asked.control.net for asked in wanted if asked.control is not None), None)
        with ExitStack() as stack:
            if (conv_in := wanted[0].conv_in) is not None:
                stack.enter_context(patches.forward([backbone.unet.conv_in], lambda _: conv_in.forward))
            unet = stack.enter_context(streamed(backbone.unet, trajectories, lambda t: t.extra.unet))
            own = None
            if net is not None:
                controlled = [trajectory for trajectory in trajectories if trajectory.extra.control is not None]
                own = stack.enter_context(streamed(net, controlled, lambda t: t.extra.controlnet))
            yield Composed(unet, own)


class Composed(Hooks):
    """Lays out what the rows of each call see in the UNet, and in the ControlNet if there is one."""

    def __init__(self, unet: ImageRows, net: ImageRows | None) -> None:
        self._unet = unet
        self._net = net

    def before_unet(self, call: UNetCall) -> None:
        """Prepare the UNet's attentions, run the ControlNet."""
        self._unet.before_unet(call)
        if self._net is not None:
            controlnet.add(call, lambda trajectory: trajectory.extra.control, before=self._net.before_unet)


def task_of(order: Order, params: CSGOParams) -> Task:
    """Return the task asked for, or the one that the pictures suggest."""
    return params.task or ("text_driven" if order.pictures.content is None else "image_driven")


def scales_of(order: Order, params: CSGOParams) -> Scales:
    """Return the scales of a request."""
    return math.scales(
        task_of(order, params),
        order.strength,
        delta_c=params.controlnet_conditioning_scale,
        lambda_c=params.content_scale,
        lambda_s=params.style_scale,
        content_in_unet=params.content_in_unet,
    )


def check(order: Order, params: CSGOParams) -> None:
    """Raise Refused when the task lacks what it is about."""
    task = task_of(order, params)
    if len(order.pictures.styles) != 1:
        raise Refused(f"csgo takes one style image, not {len(order.pictures.styles)}")
    if task != "text_driven" and order.pictures.content is None:
        raise Refused(f"task {task} paints a content_image again: give one, or use task text_driven")
    if task != "image_driven" and not all(prompt.strip() for prompt in order.prompts):
        raise Refused(f"task {task} makes what the prompt says: give a prompt")


def content_of(order: Order, params: CSGOParams) -> Image.Image:
    """Return the content picture at the result's size; black, as in the authors' demo, when there is none."""
    if order.pictures.content is None:
        return Image.new("RGB", (order.width, order.height))
    return content_image.fitted(order, params.fit, MULTIPLE, Image.Resampling.BICUBIC)


def _asked(style: Image.Image, content: Image.Image, scales: Scales, params: CSGOParams, bench: Bench) -> Asked:
    backbone = bench.backbone
    own = network.resident(network.locate(params.num_style_tokens, bench), backbone)
    if scales.lambda_c and not own.content_in_unet:
        raise Refused(f"{own.located.adapter.name} has no content adapters for the UNet: leave content_in_unet out")
    unet, net = _streams(style, content, scales, own, bench)
    pixels = to_unit(content).to(backbone.device, backbone.dtype)
    control = Control(own.controlnet, pixels, scales.delta_c) if scales.delta_c else None
    return Asked(unet, net, control, own.conv_in)


def _streams(
    style: Image.Image, content: Image.Image, scales: Scales, own: Network, bench: Bench
) -> tuple[Streams, Streams]:
    """Return what UNet and ControlNet see: content and style, each in layers of its own."""
    unet: list[Stream] = []
    net: list[Stream] = []
    if scales.lambda_c:
        shown, nothing = (prompts.seen("content", image, own, bench) for image in (content, None))
        unet.append(Stream(shown.unet, nothing.unet, dict.fromkeys(own.content_in_unet, scales.lambda_c)))
    if scales.lambda_s:
        shown, nothing = (prompts.seen("style", image, own, bench) for image in (style, None))
        unet.append(Stream(shown.unet, nothing.unet, dict.fromkeys(own.style_in_unet, scales.lambda_s)))
        style_scales = dict.fromkeys(own.style_in_controlnet, scales.lambda_s)
        net.append(Stream(shown.controlnet, nothing.controlnet, style_scales))
    return tuple(unet), tuple(net)


TECHNIQUE = CSGO()
