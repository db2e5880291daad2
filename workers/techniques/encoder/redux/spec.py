"""FLUX.1 Redux: the style images as tokens beside the text. No training."""

from collections.abc import Collection, Mapping
from typing import Literal

from pydantic import Field

from model_store.catalogue.entry import Base
from workers.contract.spec import Cost, Defaults, Inputs, Paper, Spec
from workers.techniques.control_params import HIGH_THRESHOLD, LOW_THRESHOLD, ControlParams

MOST_REFERENCES = 4


class ReduxParams(ControlParams):
    """Parameters of redux."""

    combine: Literal["concat", "blend"] = Field(
        "concat",
        description="several style images: the tokens of all, each picture whole, or one weighted sum of them",
    )
    downsampling_factor: int = Field(
        3,
        ge=1,
        le=9,
        description="how much coarser the grid of a style image's tokens becomes: 1 keeps its layout and subjects, "
        "3 its palette and rendering, 9 little",
    )
    downsampling_mode: Literal["area", "bicubic", "bilinear", "nearest"] = Field(
        "area", description="how the grid of tokens is made coarser"
    )
    fit: Literal["squash", "crop"] = Field(
        "squash", description="all of a style image squashed to a square, as the authors do, or its middle square"
    )
    content_strength: float = Field(
        0.6,
        gt=0,
        le=1,
        description="with a content image: how much of the schedule is run on it; 1 forgets it",
    )
    control: Literal["canny", "depth"] | None = Field(
        None,
        validate_default=True,
        description="kind of the map of the control image, or of the map made of the content image when there is no "
        "control image; on flux it takes the LoRA of that name. Default: control_source, when that makes one",
    )
    control_scale: float = Field(0.85, ge=0, le=2, description="how much of the control LoRA; 0.85 is the authors'")
    low_threshold: int = Field(50, ge=0, le=1000, description=LOW_THRESHOLD)
    high_threshold: int = Field(200, ge=0, le=1000, description=HIGH_THRESHOLD)
    true_cfg_scale: float = Field(
        1.0, ge=1, le=10, description="classifier-free guidance by the negative prompt, a second call a step; 1 is none"
    )
    max_sequence_length: int | None = Field(
        None, ge=1, le=512, description="tokens of the prompt, padding included; default 512, on schnell 256"
    )

    def guided(self, guidance_scale: float) -> bool:
        """Return whether there is true classifier-free guidance; `guidance_scale` is what the model takes."""
        return self.true_cfg_scale > 1

    def row_factor(self) -> float:
        """Return 2 with classifier-free guidance: the cost counts one row for a picture."""
        return 2.0 if self.true_cfg_scale > 1 else 1.0

    def input_faults(self, given: Collection[str], *, base: Base) -> Mapping[str, str]:
        """Return faults of a control on a model that takes none, and of none on one that needs it."""
        if base == "flux-schnell" and self.control is not None:
            return {"#/params/control": "needs a model of flux or flux-control, not of flux-schnell"}
        if base == "flux-control" and self.control is None:
            return {"#/params/control": "is required on a model of flux-control: canny or depth"}
        return {}


SPEC = Spec(
    name="redux",
    family="encoder",
    version=1,
    title="FLUX.1 Redux",
    brief="Takes palette and rendering of your pictures on the FLUX model, which reads long prompts well.",
    summary="Shows the style images to FLUX as tokens beside the prompt. Takes over palette, rendering and, with all "
    "tokens, the layout and subjects of the style image.",
    paper=Paper(
        title="FLUX.1 Redux",
        authors="Black Forest Labs",
        venue="2024",
        url="https://huggingface.co/black-forest-labs/FLUX.1-Redux-dev",
    ),
    inputs=Inputs(
        driven_by="text", references=(1, MOST_REFERENCES), content_image="optional", controls=("canny", "depth")
    ),
    params=ReduxParams,
    bases={
        "flux": Defaults(width=1024, height=1024, steps=28, guidance_scale=2.5, strength=0.5),
        "flux-control": Defaults(width=1024, height=1024, steps=30, guidance_scale=10.0, strength=0.5),
        "flux-schnell": Defaults(width=1024, height=1024, steps=4, guidance_scale=1.0, strength=0.5),
    },
    cost=Cost(row_passes=1.0),
    strength="The attention to the tokens of a style image is multiplied by strength squared: 1 is Redux as published, "
    "0 leaves the tokens out.",
    main_parameters={
        "downsampling_factor": "Low keeps layout and subjects of the style pictures as well, high only their palette.",
        "combine": "With several style pictures: use all of each, or one average of them.",
        "content_strength": "With a content picture: low keeps more of it.",
    },
    rights="Redux's weights are under the FLUX.1 [dev] Non-Commercial License; FLUX.1 [dev] is, too. No code of Black "
    "Forest Labs is used.",
    weights=("flux1-redux",),
)
