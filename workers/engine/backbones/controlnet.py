"""A ControlNet beside the UNet: its residuals for the rows of a call that have a control image."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import ControlNetModel
from torch import Tensor

from model_store.errors import ModelStoreError
from model_store.load.component import load_component
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.stable_diffusion import unet_inputs
from workers.engine.conditioning import Condition, stack
from workers.engine.denoise import DenoiserCall, Rows, Trajectory
from workers.engine.errors import ModelUnusable, Refused


@dataclass(frozen=True, eq=False)
class Control:
    """What one request wants of a ControlNet.

    image: (1, 3, height, width) in 0..1, on the model's device in its dtype; `digest` names it in cache keys. start,
    end: shares of the steps. text: whether each half of the guidance gets its own text, or both the negative one.
    """

    net: Any
    image: Tensor
    scale: float
    start: float = 0.0
    end: float = 1.0
    text: Literal["matching", "negative"] = "matching"
    digest: str = ""

    def weight(self, step: int, steps: int) -> float:
        """Return the factor on the residuals at a step: 0 outside of start..end."""
        outside = step / steps < self.start or (step + 1) / steps > self.end
        return 0.0 if outside else self.scale

    def condition(self, rows: Rows) -> Condition:
        """Return the text of one half as the ControlNet gets it."""
        if self.text == "negative" and rows.trajectory.negative is not None:
            return rows.trajectory.negative
        return rows.trajectory.positive if rows.conditional else rows.trajectory.halves[0]


ControlOf = Callable[[Trajectory], Control | None]


def load(folder: Path, backbone: Backbone, *, completed: bool = False) -> Any:
    """Return the ControlNet in a folder, frozen, beside a base model; if `completed`, what it lacks is the UNet's.

    Raises ModelUnusable when there is none that can be read, Refused when it does not fit the base model.
    """
    others = backbone.denoiser.state_dict() if completed else {}
    try:
        net = load_component(folder, ControlNetModel, device=backbone.device, dtype=backbone.dtype, others=others)
    except (ModelStoreError, OSError) as broken:
        raise ModelUnusable(f"{folder} cannot be loaded as a ControlNet: {broken}") from broken
    for part in ("block_out_channels", "cross_attention_dim", "addition_embed_type"):
        if getattr(net.config, part) != getattr(backbone.denoiser.config, part):
            raise Refused(f"the ControlNet in {folder} was not made for {backbone.name}: their {part} differ")
    return net


def add(call: DenoiserCall, control_of: ControlOf, before: Callable[[DenoiserCall], None] = lambda call: None) -> None:
    """Put the residuals of every controlled row into a UNet call, zeros for the others.

    All controlled requests of a call share one ControlNet. `before` sees the ControlNet's own call, whose rows are the
    controlled ones only, for processors that must know whose rows they see.
    """
    weights = torch.zeros(len(call.sample))
    parts: list[tuple[Rows, Control]] = []
    for rows in call.rows:
        asked = control_of(rows.trajectory)
        if asked is not None and (weight := asked.weight(rows.trajectory.step, rows.trajectory.steps)):
            weights[rows.start : rows.stop] = weight
            parts.append((rows, asked))
    if parts:
        chosen = weights.nonzero().flatten().to(call.sample.device)
        own = _own_call(call, parts, chosen)
        before(own)
        down, middle = _residuals(own, parts)
        weights = weights.to(call.sample.device, call.sample.dtype)[:, None, None, None]
        call.inputs["down_block_additional_residuals"] = tuple(_spread(r, chosen, weights) for r in down)
        call.inputs["mid_block_additional_residual"] = _spread(middle, chosen, weights)


def _own_call(call: DenoiserCall, parts: list[tuple[Rows, Control]], chosen: Tensor) -> DenoiserCall:
    owners: list[Rows] = []
    for rows, _ in parts:
        begin = owners[-1].stop if owners else 0
        owners.append(Rows(rows.trajectory, rows.conditional, begin, begin + rows.stop - rows.start))
    return DenoiserCall(
        sample=call.sample[chosen],
        timestep=call.timestep if call.timestep.ndim == 0 else call.timestep[chosen],
        condition=stack([asked.condition(rows) for rows, asked in parts]),
        rows=tuple(owners),
    )


def _residuals(own: DenoiserCall, parts: list[tuple[Rows, Control]]) -> tuple[list[Tensor], Tensor]:
    images = [asked.image.expand(rows.stop - rows.start, -1, -1, -1) for rows, asked in parts]
    down, middle = parts[0][1].net(
        own.sample, own.timestep, controlnet_cond=torch.cat(images), return_dict=False, **unet_inputs(own.condition)
    )
    return down, middle


def _spread(residual: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    if len(chosen) < len(weights):
        residual = residual.new_zeros(len(weights), *residual.shape[1:]).index_copy(0, chosen, residual)
    return residual * weights
