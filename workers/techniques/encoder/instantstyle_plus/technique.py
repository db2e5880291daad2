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
from workers.engine.backbones.controlnet import Control
from workers.engine.backbones.stable_diffusion import Backbone
from workers.engine.denoise import Hooks, Trajectory, UNetCall
from workers.engine.errors import Refused
from workers.engine.images import to_unit
from workers.engine.technique import Bench, Order, check_size, knobs
from workers.techniques.encoder import adapter, blocks, content_image, image_prompt
from workers.techniques.encoder.adapter import Adapter
from workers.techniques.encoder.attention import ImageRows, Stream, Streams, streamed
from workers.techniques.encoder.image_prompt import References
from workers.techniques.encoder.instantstyle_plus import guidance, inversion, math
from workers.techniques.encoder.instantstyle_plus.guidance import Guidance
from workers.techniques.encoder.instantstyle_plus.inversion import Recipe
from workers.techniques.encoder.instantstyle_plus.spec import SPEC, InstantStylePlusParams
from workers.techniques.encoder.params import EncoderParams
from workers.techniques.encoder.weights import installed, locate

CONTROLNET = "controlnet-tile-sdxl"
MULTIPLE = 64
DDIM = {"timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False}


@dataclass(frozen=True, eq=False)
class Asked:
    """What a trajectory sees, what holds it, and what guides it."""

    streams: Streams
    control: Control | None
    guidance: Guidance | None


class InstantStylePlus:
    """The technique; stateless. `invert` gives the content's inverted latents (1, C, h, w)."""

    spec = SPEC

    def __init__(self, invert: Any = inversion.inverted) -> None:
        self._invert = invert

    def batch_key(self, order: Order, backbone: Backbone) -> Hashable | None:
        """Batches with every request of its size whose attentions see as many tokens, whatever is shown or guided."""
        params = knobs(order, InstantStylePlusParams)
        active = bool(params.scale_content), bool(order.strength * params.scale_style)
        size = content_image.result_size(order, params.fit, MULTIPLE)
        return backbone.name, size, params.adapter if any(active) else None, active

    def prepare(self, order: Order, bench: Bench) -> Trajectory:
        """Return the inverted content, with what it sees and what holds it.

        Raises Refused when a picture is missing or the base model does not predict noise, WeightsMissing with the
        command that fetches what is not installed.
        """
        params, backbone = knobs(order, InstantStylePlusParams), bench.backbone
        style, content = _pictures(order, params)
        width, height = content.size
        check_size(replace(order, width=width, height=height), backbone)
        recipe = recipe_of(order, params, backbone)
        asked = _asked(order, params, style, content, bench)
        z = {prompt: self._invert(content, prompt, recipe, bench) for prompt in dict.fromkeys(order.prompts)}
        positive, negative = backbone.condition(
            order.prompts, order.negative_prompt, guided=order.guidance_scale > 1, width=width, height=height
        )
        return Trajectory(
            latents=torch.cat([z[prompt] for prompt in order.prompts]),
            scheduler=schedulers.build("ddim", recipe.config, order.steps),
            positive=positive,
            negative=negative,
            guidance_scale=order.guidance_scale,
            seeds=order.seeds,
            extra=asked,
        )

    def prepare_style(self, order: Order, bench: Bench) -> None:
        """Let the encoders see the style picture. Raises as `prepare`."""
        params = knobs(order, InstantStylePlusParams)
        if len(order.pictures.styles) != 1:
            raise Refused("instantstyle-plus needs one style image")
        [style] = order.pictures.styles
        if s := order.strength * params.scale_style:
            found = adapter.resident(locate(params.adapter, bench), bench.backbone)
            _stream(style, s, math.STYLE, found, bench, of_style=True)
        if order.strength * params.style_guidance_scale:
            guidance.described(style, guidance.descriptor(bench), bench, of_style=True)

    @contextmanager
    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
        """Let the cross-attentions see the pictures, add the ControlNet's residuals and the guidance."""
        with ExitStack() as stack:
            rows = stack.enter_context(streamed(backbone.unet, trajectories, lambda t: t.extra.streams))
            yield Composed(rows, backbone, gradients=any(t.extra.guidance is not None for t in trajectories))


class Composed(Hooks):
    """Image attention, ControlNet and guidance around each UNet call."""

    def __init__(self, rows: ImageRows, backbone: Backbone, *, gradients: bool) -> None:
        self._rows = rows
        self._backbone = backbone
        self.wants_gradients = gradients

    def before_unet(self, call: UNetCall) -> None:
        """Prepare the attentions, run the ControlNet, which sees text only."""
        self._rows.before_unet(call)
        controlnet.add(call, lambda trajectory: trajectory.extra.control)

    def after_guidance(self, trajectory: Trajectory, noise: Tensor, call: UNetCall) -> Tensor:
        """Return the prediction, corrected for a request that is guided by CSD."""
        asked: Guidance | None = trajectory.extra.guidance
        if asked is None:
            return noise
        return guidance.guided(trajectory, asked, noise, call, self._rows, self._backbone)


def recipe_of(order: Order, params: InstantStylePlusParams, backbone: Backbone) -> Recipe:
    """Return how the content is inverted: on the model's own noise levels. Raises Refused for other predictions."""
    config = {**backbone.scheduler_config, **DDIM, **(order.scheduler_config or {})}
    config["_use_default_values"] = [name for name in config.get("_use_default_values", ()) if name not in DDIM]
    if config.get("prediction_type", "epsilon") != "epsilon":
        raise Refused(f"instantstyle-plus needs a base model that predicts noise; {backbone.name} does not")
    steps = params.num_inversion_steps or order.steps
    return Recipe(config, steps, params.num_renoise_steps, params.inversion_seed)


def _pictures(order: Order, params: InstantStylePlusParams) -> tuple[Image.Image, Image.Image]:
    """Return style picture, and content picture at the result's size."""
    pictures = order.pictures
    if len(pictures.styles) != 1 or pictures.content is None:
        raise Refused("instantstyle-plus needs one style image and a content_image")
    bilinear = Image.Resampling.BILINEAR
    return pictures.styles[0], content_image.fitted(order, params.fit, MULTIPLE, bilinear, twice=True)


def _asked(
    order: Order, params: InstantStylePlusParams, style: Image.Image, content: Image.Image, bench: Bench
) -> Asked:
    scales = order.strength * params.style_guidance_scale, params.content_guidance_scale
    return Asked(
        streams=_streams(order, params, style, content, bench),
        control=_control(content, params.controlnet_conditioning_scale, bench),
        guidance=guidance.guidance(style, content, scales, bench),
    )


def _streams(
    order: Order, params: InstantStylePlusParams, style: Image.Image, content: Image.Image, bench: Bench
) -> Streams:
    """Return the content seen weakly in all blocks, and the style in its own block, through one adapter."""
    wanted = [
        (content, params.scale_content, math.CONTENT, False),
        (style, order.strength * params.scale_style, math.STYLE, True),
    ]
    seen = [each for each in wanted if each[1]]
    if not seen:
        return ()
    found = adapter.resident(locate(params.adapter, bench), bench.backbone)
    return tuple(_stream(image, s, target, found, bench, of_style=own) for image, s, target, own in seen)


def _stream(
    image: Image.Image, s: float, target: Sequence[str], found: Adapter, bench: Bench, *, of_style: bool
) -> Stream:
    refs = References((image,), (1.0,), EncoderParams())
    return Stream(
        conditional=image_prompt.conditional(refs, found, bench, of_style=of_style),
        unconditional=image_prompt.unconditional(1, found, bench),
        scales=dict.fromkeys(blocks.selected(found.layers, target), s),
    )


def _control(content: Image.Image, scale: float, bench: Bench) -> Control | None:
    if not scale:
        return None
    backbone = bench.backbone
    folder = installed(CONTROLNET, CONTROLNET, bench)
    net = backbone.resident(f"controlnet {folder}", lambda: controlnet.load(folder, backbone))
    return Control(net, to_unit(content).to(backbone.device, backbone.dtype), scale)


TECHNIQUE = InstantStylePlus()
