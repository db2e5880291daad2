"""DEADiff: a reference picture read by Q-Formers that were told which of its sides to see. Trained, SD1.5 only."""

from typing import Literal

from pydantic import Field

from workers.contract.spec import Cost, Defaults, Inputs, Paper, Params, Spec

SubjectText = Literal["style", "content", "style & content"]


class DeadiffParams(Params):
    """Knobs of deadiff."""

    subject_text: SubjectText = Field(
        "style",
        description="what is taken from the picture: its style, for a subject named in the prompt; its content, for a "
        "style named in the prompt; or both",
    )
    img_weight: float = Field(
        1.0,
        ge=0,
        le=4,
        description="factor on the picture's keys and values; the authors use 1, up to 2 is useful. For a stronger "
        "style 1.2 to 1.5 with a lower guidance_scale",
    )
    base_weights: Literal["checkpoint", "model"] = Field(
        "checkpoint",
        description="UNet and text encoder: those of DEADiff's checkpoint, as published, or those of the model asked "
        "for, when it is tuned from SD1.5 (not tried by the authors; needs less memory then)",
    )
    schedule: Literal["even", "ldm"] = Field(
        "even",
        description="even: as many steps as asked for. ldm: the authors' timesteps 1 + k (1000 // steps), a step or "
        "more on where steps does not divide 1000; only with sampler ddim",
    )
    sampler: Literal["ddim", "dpm++", "euler", "pndm", "unipc"] = "ddim"


SPEC = Spec(
    name="deadiff",
    family="encoder",
    version=1,
    title="DEADiff",
    brief="Takes the look of one picture and lets the prompt say what is drawn: give it a short subject.",
    summary="Reads the style of one picture apart from its content and follows the prompt for the rest. Give a short "
    "subject as prompt. The authors always use this negative prompt: over-exposure, under-exposure, saturated, "
    "duplicate, out of frame, lowres, cropped, worst quality, low quality, jpeg artifacts, morbid, mutilated, out of "
    "frame, ugly, bad anatomy, bad proportions, deformed, blurry, duplicate.",
    paper=Paper(
        title="DEADiff: An Efficient Stylization Diffusion Model with Disentangled Representations",
        authors="Qi, Fang, Wu, Wang, Zhang, Xue, Zhang",
        venue="CVPR 2024",
        url="https://arxiv.org/abs/2403.06951",
    ),
    inputs=Inputs(driven_by="text", references=(1, 1)),
    params=DeadiffParams,
    bases={"sd15": Defaults(width=512, height=512, steps=50, guidance_scale=7.5)},
    cost=Cost(row_passes=2.0),
    strength="The picture's share of each attention is multiplied by strength and the text gets the rest, in both "
    "halves of the guidance. 1 is the published method exactly; 0 is plain text-to-image exactly, with the model's own "
    "weights. params.img_weight is the authors' own knob and works at any strength; 0 there is not plain, because "
    "tokens without content still take their share.",
    main_parameters={
        "subject_text": "What to take from the picture: its style, its content, or both.",
        "img_weight": "How much the picture counts at full strength.",
    },
    rights="Runs the published checkpoint (hub: qth/DEADiff, openrail) through diffusers and transformers; no code of "
    "the project is used (Apache-2.0). Its README limits the project to personal, research and non-commercial use: "
    "treat it as non-commercial unless cleared.",
    weights=("deadiff",),
)
