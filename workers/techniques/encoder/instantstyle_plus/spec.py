"""InstantStyle-Plus: the content is inverted and painted again, held by a tile ControlNet and a content adapter."""

from typing import Literal

from pydantic import Field

from workers.contract.spec import Cost, Defaults, Inputs, Paper, Params, Spec
from workers.techniques.encoder.params import RIGHTS


class InstantStylePlusParams(Params):
    """Knobs of instantstyle-plus."""

    scale_style: float = Field(
        1.2, ge=0, le=4, description="weight of the style image's attention at strength 1, in the style block only"
    )
    scale_content: float = Field(0.2, ge=0, le=4, description="weight of the content image's attention, in all blocks")
    controlnet_conditioning_scale: float = Field(
        0.4, ge=0, le=4, description="how strongly the tile ControlNet holds the content"
    )
    style_guidance_scale: float = Field(
        0.0,
        ge=0,
        le=1_000_000,
        description="style guidance by the CSD descriptor at strength 1: each step also follows the gradient of the "
        "style similarity through UNet and VAE. 0, as published, is off; no value is recommended anywhere. Takes "
        "several times the memory and about twice the time",
    )
    content_guidance_scale: float = Field(
        0.0, ge=0, le=1_000_000, description="the same for CSD's content similarity to the content image"
    )
    num_inversion_steps: int | None = Field(
        None, ge=1, le=1000, description="steps of the content's inversion; default: as many as the request has"
    )
    num_renoise_steps: int = Field(
        1, ge=0, le=20, description="refinements of each inversion step; below timestep 250 at most 5"
    )
    inversion_seed: int = Field(
        7865, ge=0, le=2**63 - 1, description="of the inversion's random draws; the request's own seed has no effect"
    )
    adapter: Literal["vit-h", "base", "plus"] = Field(
        "vit-h", description="which published SDXL IP-Adapter; vit-h is the authors'"
    )
    fit: Literal["content", "exact"] = Field(
        "content",
        description="content: the result has the content image's proportions, as large as width x height allows, sides "
        "rounded down to multiples of 64; exact: width x height, the content image cropped to it",
    )


SPEC = Spec(
    name="instantstyle-plus",
    family="encoder",
    version=1,
    title="InstantStyle-Plus",
    brief="Repaints a content picture in your style and keeps its shapes closely: careful and slow.",
    summary="Paints the content image again in the style of the style image: generation starts from the inverted "
    "content, a tile ControlNet and a weak content adapter hold it, the style block sees the style. The prompt shall "
    "describe the content image. Nothing is random: all pictures of a request with one prompt are the same. The "
    "authors' negative prompt is 'lowres, low quality, worst quality, deformed, noisy, blurry'.",
    paper=Paper(
        title="InstantStyle-Plus: Style Transfer with Content-Preserving in Text-to-Image Generation",
        authors="Wang, Xing, Huang, Ai, Wang, Bai",
        venue="arXiv 2407.00788 (2024)",
        url="https://arxiv.org/abs/2407.00788",
    ),
    inputs=Inputs(driven_by="image", references=(1, 1), content_image="required"),
    params=InstantStylePlusParams,
    bases={"sdxl": Defaults(width=1280, height=1280, steps=50, guidance_scale=5.0)},
    cost=Cost(row_passes=2.8, content_passes=2.25),
    strength="The style attention is added with the weight strength * params.scale_style, and style guidance with "
    "strength * params.style_guidance_scale. 1 is the authors' default; at 0 the style image has no say and the result "
    "is the content, inverted and painted again as the prompt says, held by ControlNet and content adapter.",
    main_parameters={
        "controlnet_conditioning_scale": "How closely the shapes of the content picture are kept.",
        "scale_style": "How much the style picture counts at full strength.",
    },
    rights=RIGHTS + " The InstantStyle-Plus repository has no licence file; it was not copied. CSD's code is under the "
    "MIT licence; the card of its weights states no terms.",
    weights=("ip-adapter-sdxl-vit-h", "controlnet-tile-sdxl", "csd"),
)
"""Cost: beside its two UNet rows a step evaluates the ControlNet, about 0.4 of a UNet row, on both. A step of the
inversion is two rows, and a third below timestep 250."""
