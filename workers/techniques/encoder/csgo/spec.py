"""CSGO: content and style adapters trained together, with a tile ControlNet. SDXL; SD1.5 with weights of its own."""

from typing import Literal

from pydantic import Field

from model_store.catalogue.entry import Base
from workers.contract.spec import Cost, Defaults, Inputs, Paper, Params, Spec

Task = Literal["image_driven", "text_driven", "text_edit_driven"]
PUBLISHED_FOR: Base = "sdxl"


class CSGOParams(Params):
    """Knobs of csgo."""

    task: Task | None = Field(
        None,
        description="image_driven: the content image in the style, the prompt describing the content image; "
        "text_edit_driven: the same, the prompt describing the content as it shall become; text_driven: a new picture "
        "of the prompt. Default: image_driven with a content image, text_driven without",
    )
    style_scale: float = Field(1.0, ge=0, le=4, description="weight of the style attention at strength 1")
    content_scale: float = Field(
        1.0,
        ge=0,
        le=4,
        description="weight of the content attention in the UNet; without content_in_unet it has no effect, as in the "
        "authors' published code",
    )
    controlnet_conditioning_scale: float | None = Field(
        None,
        ge=0,
        le=4,
        description="how strongly the ControlNet holds the content; default by task: image_driven 0.6, "
        "text_edit_driven 0.4, text_driven 0.01",
    )
    content_in_unet: bool = Field(
        False,
        description="false: as the authors' published code computes, where the ControlNet alone holds the content; "
        "true: as their paper describes, the UNet's down blocks see the content image too, with content_scale",
    )
    num_style_tokens: Literal[32, 16] = Field(
        32,
        description="which of the two published checkpoints: that with 32 (the authors' demo) or 16 style tokens; "
        "without effect on a base model that brings its own",
    )
    fit: Literal["content", "exact"] = Field(
        "content",
        description="content: the result has the content image's proportions, as large as width x height allows, sides "
        "rounded down to multiples of 16; exact: width x height, the content image cropped to it",
    )
    sampler: Literal["ddim", "dpm++", "euler", "pndm", "unipc"] = "ddim"


SPEC = Spec(
    name="csgo",
    family="encoder",
    version=1,
    title="CSGO",
    brief="Repaints a content picture in your style and keeps its outlines, or draws the prompt in it.",
    summary="Paints the content image in the style of the style image (image_driven), or with what the prompt changes "
    "(text_edit_driven), or a new picture from the prompt alone (text_driven). The more exactly the prompt describes "
    "the content image, the better it is kept; its authors call the two text tasks less stable. They give every "
    "request the negative prompt 'text, watermark, lowres, low quality, worst quality, deformed, glitch, low contrast, "
    "noisy, saturation, blurry'. Published for SDXL only; an SD1.5 model needs CSGO weights of its own, as the starter "
    "model has them.",
    paper=Paper(
        title="CSGO: Content-Style Composition in Text-to-Image Generation",
        authors="Xing, Wang, Sun, Wang, Bai, Ai, Huang, Li",
        venue="arXiv 2408.16766 (2024)",
        url="https://arxiv.org/abs/2408.16766",
    ),
    inputs=Inputs(driven_by="image", references=(1, 1), content_image="optional"),
    params=CSGOParams,
    bases={
        "sdxl": Defaults(width=1024, height=1024, steps=50, guidance_scale=10.0),
        "sd15": Defaults(width=512, height=512, steps=50, guidance_scale=7.5),
    },
    experimental_on=("sd15",),
    cost=Cost(row_passes=2.8),
    strength="The style attentions of UNet and ControlNet are added with the weight strength * params.style_scale, in "
    "both halves of the guidance; 1 is the authors' default. At 0 the style image has no say: image_driven and "
    "text_edit_driven then paint the content image as the prompt says, held by the ControlNet. In text_driven strength "
    "multiplies the ControlNet's weight too, and 0 is plain text-to-image exactly.",
    main_parameters={
        "task": "Repaint the content picture, change it as the prompt says, or draw the prompt alone.",
        "controlnet_conditioning_scale": "How closely the outlines of the content picture are kept.",
    },
    rights="Runs the authors' checkpoint through diffusers; no code of the project is used. The checkpoint "
    "(InstantX/CSGO) is labelled Apache-2.0; the tile ControlNet and the image encoder have licences of their own.",
    weights=("csgo", "controlnet-tile-sdxl-ttplanet"),
)
"""Cost: beside its two UNet rows a step evaluates the ControlNet, about 0.4 of a UNet row, on both."""
