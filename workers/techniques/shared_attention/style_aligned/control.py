"""A ControlNet beside the UNet: its residuals for the rows of a call that have a control image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import ControlNetModel
from PIL import Image
from torch import Tensor

from workers.pipelines.backbone import Backbone
from workers.pipelines.conditioning import Condition, stack
from workers.pipelines.denoise import Rows, UNetCall
from workers.pipelines.errors import Refused
from workers.pipelines.images import to_unit
from workers.techniques.base import Bench, Order
from workers.techniques.shared_attention.style_aligned.spec import StyleAlignedParams


@dataclass(frozen=True, eq=False)
class Control:
    """What one request wants of a ControlNet. image: (1, 3, height, width) in 0..1; start, end: shares of the steps."""

    net: Any
    image: Tensor
    scale: float
    start: float
    end: float
    text: Literal["matching", "negative"]

    def weight(self, step: int, steps: int) -> float:
        """Return the factor on the residuals at a step: 0 outside of start..end."""
        outside = step / steps < self.start or (step + 1) / steps > self.end
        return 0.0 if outside else self.scale

    def condition(self, rows: Rows) -> Condition:
        """Return the text of one half as the ControlNet gets it."""
        if self.text == "negative" and rows.trajectory.negative is not None:
            return rows.trajectory.negative
        return rows.trajectory.positive if rows.conditional else rows.trajectory.halves[0]


def control(order: Order, params: StyleAlignedParams, bench: Bench) -> Control | None:
    """Return the control a request asks for, None without an image.

    Raises Refused when kind and image do not come together or the ControlNet is another model's, WeightsMissing when
    it is not installed.
    """
    image, kind = order.pictures.control, params.control
    if image is None and kind is None:
        return None
    if image is None or kind is None:
        raise Refused("a control_image and params.control, which names its kind, belong together")
    backbone = bench.backbone
    folder = bench.weights(f"controlnet-{kind}-{backbone.base}")
    pixels = to_unit(image.convert("RGB").resize((order.width, order.height), Image.Resampling.LANCZOS))
    return Control(
        net=backbone.resident(f"controlnet {folder}", lambda: load(folder, backbone)),
        image=pixels.to(backbone.device, backbone.dtype),
        scale=params.controlnet_conditioning_scale,
        start=params.control_guidance_start,
        end=params.control_guidance_end,
        text=params.controlnet_text,
    )


def load(folder: Path, backbone: Backbone) -> Any:
    """Return the ControlNet in a folder, frozen, beside a base model. Raises Refused when it does not fit."""
    net = ControlNetModel.from_pretrained(folder, dtype=backbone.dtype, use_safetensors=True, local_files_only=True)
    for part in ("block_out_channels", "cross_attention_dim", "addition_embed_type"):
        if getattr(net.config, part) != getattr(backbone.unet.config, part):
            raise Refused(f"the ControlNet in {folder} was not made for {backbone.name}: their {part} differ")
    return net.to(backbone.device).eval().requires_grad_(False)


def add(call: UNetCall) -> None:
    """Put the residuals of every controlled row into a UNet call, zeros for the others."""
    weights = torch.zeros(len(call.sample))
    parts: list[tuple[Rows, Control]] = []
    for rows in call.rows:
        asked: Control | None = rows.trajectory.extra.control
        if asked is not None and (weight := asked.weight(rows.trajectory.step, rows.trajectory.steps)):
            weights[rows.start : rows.stop] = weight
            parts.append((rows, asked))
    if parts:
        chosen = weights.nonzero().flatten().to(call.sample.device)
        down, middle = _residuals(call, parts, chosen)
        weights = weights.to(call.sample.device, call.sample.dtype)[:, None, None, None]
        call.inputs["down_block_additional_residuals"] = tuple(_spread(r, chosen, weights) for r in down)
        call.inputs["mid_block_additional_residual"] = _spread(middle, chosen, weights)


def _residuals(call: UNetCall, parts: list[tuple[Rows, Control]], chosen: Tensor) -> tuple[list[Tensor], Tensor]:
    condition = stack([asked.condition(rows) for rows, asked in parts])
    images = [asked.image.expand(rows.stop - rows.start, -1, -1, -1) for rows, asked in parts]
    down, middle = parts[0][1].net(
        call.sample[chosen],
        call.timestep if call.timestep.ndim == 0 else call.timestep[chosen],
        controlnet_cond=torch.cat(images),
        return_dict=False,
        **condition.unet_inputs(),
    )
    return down, middle


def _spread(residual: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    if len(chosen) < len(weights):
        residual = residual.new_zeros(len(weights), *residual.shape[1:]).index_copy(0, chosen, residual)
    return residual * weights
