"""FLUX.1 Fill: parts of a picture painted anew, or what is around it. No reference, no training."""

from typing import Literal

from pydantic import Field

from workers.contract.spec import Cost, Defaults, Inputs, Paper, Spec
from workers.techniques.outpaint_params import OutpaintParams


class FillParams(OutpaintParams):
    """Parameters of fill."""

    keep: Literal["paste", "none"] = Field(
        "paste",
        description="what is not repainted is pasted back exactly after decoding, with a soft edge within the mask; "
        "the model alone keeps it only nearly",
    )
    max_sequence_length: int = Field(512, ge=1, le=512, description="tokens of the prompt, padding included")

    def guided(self, guidance_scale: float) -> bool:
        """Return False: `guidance_scale` is a number that the model takes."""
        return False


SPEC = Spec(
    name="fill",
    family="edit",
    version=1,
    title="FLUX.1 Fill",
    brief="Paints a part of your picture anew, or what lies around it, from your words.",
    summary="Paints the white part of a mask anew from the prompt, or the surroundings of a picture. Takes no style "
    "image: it is what the model does by itself.",
    paper=Paper(
        title="FLUX.1 Fill",
        authors="Black Forest Labs",
        venue="2024",
        url="https://huggingface.co/black-forest-labs/FLUX.1-Fill-dev",
    ),
    inputs=Inputs(driven_by="image", references=(0, 0), content_image="required", mask_image="optional"),
    params=FillParams,
    bases={"flux-fill": Defaults(width=1024, height=1024, steps=30, guidance_scale=30.0)},
    cost=Cost(row_passes=1.0),
    strength="How much of the schedule is run: 1 repaints freely, less keeps some of what was there, 0 all.",
    main_parameters={"overlap": "How much of your picture's edge is painted anew where it meets the surroundings."},
    rights="FLUX.1 Fill's weights are under the FLUX.1 [dev] Non-Commercial License. No code of Black Forest Labs is "
    "used.",
)
