"""The ControlNet of a request that brings a control image."""

from workers.engine.backbones import controlnet
from workers.engine.backbones.controlnet import Control
from workers.engine.denoise import DenoiserCall
from workers.engine.errors import Refused
from workers.engine.images import digest, to_unit
from workers.engine.technique import PrepareContext
from workers.techniques.control_picture import ControlPicture
from workers.techniques.shared_attention.style_aligned.spec import StyleAlignedParams


def control(picture: ControlPicture | None, params: StyleAlignedParams, context: PrepareContext) -> Control | None:
    """Return the control a request asks for, None without a control picture.

    Raises Refused when kind and image do not come together or the ControlNet is another model's, WeightsMissing when
    it is not installed.
    """
    kind = params.control
    if picture is None and kind is None:
        return None
    if picture is None or kind is None:
        raise Refused("a control_image and params.control, which names its kind, belong together")
    backbone = context.backbone
    folder = context.weights(f"controlnet-{kind}-{backbone.base}")
    return Control(
        net=backbone.get_or_load(f"controlnet {folder}", lambda: controlnet.load(folder, backbone)),
        image=to_unit(picture.image).to(backbone.device, backbone.dtype),
        digest=digest(picture.image),
        scale=params.controlnet_conditioning_scale,
        start=params.control_guidance_start,
        end=params.control_guidance_end,
        text=params.controlnet_text,
    )


def add(call: DenoiserCall) -> None:
    """Put the residuals of every controlled row into a UNet call, zeros for the others."""
    controlnet.add(call, lambda trajectory: trajectory.extra.control)
