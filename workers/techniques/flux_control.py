"""Structure for FLUX.1 from a map of edges or depth: the model reads the map's latents beside the noisy ones.

flux-control is a model made for that; on flux a LoRA in the authors' layout is needed.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

from workers.engine.backbones.base import Backbone
from workers.engine.backbones.flux import Flux
from workers.engine.backbones.flux_control_lora import ControlLora, control_branches, read_control_lora
from workers.engine.denoise import Trajectory
from workers.engine.errors import Refused
from workers.engine.residency.plan import weight_bytes
from workers.engine.technique import GenerationInputs, PrepareContext
from workers.techniques.control_params import ControlParams
from workers.techniques.control_picture import control_picture
from workers.techniques.flux import Encode, kept_latents, read_beside

Control = Literal["canny", "depth"]
LORA_FILE = "flux1-{control}-dev-lora.safetensors"


@dataclass(frozen=True)
class ControlBranches:
    """The LoRA of a request and how much of it; None on a model that needs none."""

    lora: ControlLora | None
    scale: float

    def run(self, backbone: Backbone) -> AbstractContextManager[None]:
        """Run the model with the LoRA."""
        assert isinstance(backbone, Flux)
        return nullcontext() if self.lora is None else control_branches(backbone, self.lora, self.scale)


def see_map(
    trajectory: Trajectory, inputs: GenerationInputs, params: ControlParams, context: PrepareContext, encode: Encode
) -> None:
    """Let the model read the latents of the control picture, given or made. Raises Refused without one."""
    picture = control_picture(inputs, params, context)
    if picture is None:
        raise Refused(f"params.control is {params.control}, which takes a control_image, or a content_image to make of")
    trajectory.control_map = picture.shown
    read_beside(trajectory, kept_latents(picture.image, "control", context, encode))


def branches_of(context: PrepareContext, control: Control, scale: float) -> ControlBranches:
    """Return what the base model needs to follow a map. Raises WeightsMissing, Refused, ModelUnusable."""
    backbone = context.backbone
    assert isinstance(backbone, Flux)
    if backbone.base == "flux-control":
        return ControlBranches(None, scale)
    if backbone.base != "flux":
        raise Refused(f"params.control needs flux or flux-control, not {backbone.base}")
    file = context.weights(f"flux1-{control}-lora")
    path = file / LORA_FILE.format(control=control) if file.is_dir() else file
    lora: ControlLora = backbone.get_or_load(
        f"control-lora {path}",
        lambda: read_control_lora(path, backbone),
        size=lambda: weight_bytes(path, backbone.dtype),
    )
    return ControlBranches(lora, scale)
