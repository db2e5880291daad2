"""FLUX.2 [klein] with reference pictures: content and style images in one sequence with the one that is made."""

from typing import Literal

from pydantic import Field, field_validator

from workers.contract.spec import Cost, Defaults, Inputs, Paper, Params, Spec

MOST_REFERENCES = 4


class Flux2EditParams(Params):
    """Parameters of flux2-edit."""

    template: str | None = Field(
        None,
        max_length=2000,
        description="what the model is told with style images: {prompt} stands for the prompt, {styles} for 'image 2' "
        "or 'images 2 and 3', counted with the content image as image 1; by default it is told to take the medium, "
        "palette, line and light of the style images and not their objects",
    )
    reference_size: int = Field(
        1024,
        ge=256,
        le=1024,
        description="pixels: a content or style image of more than a square of that side is scaled down to its area; "
        "512 makes a picture of 1024 x 1024 at about half the cost",
    )
    reference_keys: Literal["auto", "cached", "recomputed"] = Field(
        "auto",
        description="cached: what the images give to attention is computed once for a set of images and kept, exact "
        "for weights trained for it (9b-kv) and an approximation for others; auto: cached for those weights alone",
    )
    max_sequence_length: int = Field(
        512, ge=32, le=512, description="tokens of the text, chat template and padding included"
    )

    @field_validator("template")
    @classmethod
    def _has_the_prompt(cls, template: str | None) -> str | None:
        if template is not None and "{prompt}" not in template:
            raise ValueError("must contain {prompt}, which stands for the prompt")
        return template


SPEC = Spec(
    name="flux2-edit",
    family="edit",
    version=1,
    title="FLUX.2 [klein] editing",
    brief="Redraws your picture, or what you describe, in the style of your pictures, as you tell it in words.",
    summary="FLUX.2 [klein] sees the content image and the style images beside the picture that it makes, and is told "
    "in words what to take from which. On flux2-klein in 4 steps without guidance, whatever the request says of it; "
    "flux2-klein-base takes guidance and a negative prompt.",
    paper=Paper(
        title="FLUX.2 [klein]",
        authors="Black Forest Labs",
        venue="2026",
        url="https://huggingface.co/black-forest-labs/FLUX.2-klein-4B",
    ),
    inputs=Inputs(driven_by="text", references=(1, MOST_REFERENCES), content_image="optional"),
    params=Flux2EditParams,
    bases={
        "flux2-klein": Defaults(width=1024, height=1024, steps=4, guidance_scale=1.0),
        "flux2-klein-base": Defaults(width=1024, height=1024, steps=50, guidance_scale=4.0),
    },
    cost=Cost(row_passes=2.2),
    strength="The attention to the style images is multiplied by strength squared: 1 is the model as published, 0 "
    "leaves the style images out, and what the template says of them. An own extension: the model's authors have none.",
    main_parameters={
        "template": "Tells the model in your own words what to take from which picture.",
        "reference_size": "Smaller makes it faster and takes less detail from your pictures.",
    },
    rights="FLUX.2 [klein] 4B and its base form are under Apache-2.0; the 9B models are under a FLUX non-commercial "
    "licence. No code of Black Forest Labs is used.",
)
