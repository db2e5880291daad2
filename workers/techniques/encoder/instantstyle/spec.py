"""InstantStyle: an image prompt seen by the style blocks only, without its content. No training."""

from typing import Literal

from pydantic import Field

from workers.contract.spec import Cost, Defaults, Inputs, Paper, Spec
from workers.techniques.encoder.params import RIGHTS, WEIGHTS, Blocks, EncoderParams


class InstantStyleParams(EncoderParams):
    """Knobs of instantstyle."""

    mode: Literal["style", "style+layout", "all"] = Field(
        "style",
        description="which attentions see the style image: those of style; of style and layout (its composition too); "
        "or all, as in ip-adapter (sensible with neg_content_prompt)",
    )
    target_blocks: Blocks | None = Field(
        None, description="the attentions themselves, by parts of their names, in place of the mode's"
    )
    neg_content_prompt: str = Field(
        "",
        max_length=2000,
        description="what the style image shows and the picture shall not: its text embedding is subtracted from the "
        "image embedding (not with plus adapters)",
    )
    neg_content_scale: float = Field(
        0.5, ge=0, le=4, description="how much of it is subtracted; the authors use 0.5 on SDXL, 0.8 on SD1.5, up to 1"
    )


SPEC = Spec(
    name="instantstyle",
    family="encoder",
    version=1,
    title="InstantStyle",
    brief="Takes the look of your pictures and leaves out what they show: gentle, and best on SDXL.",
    summary="Shows the style images only to the attentions that carry style, so that their content stays out; "
    "neg_content_prompt takes more of it out. If the style is too weak: params.scale above 1, mode style+layout, or "
    "mode all with neg_content_prompt. On SD1.5 the style blocks are weak (experimental, say its authors).",
    paper=Paper(
        title="InstantStyle: Free Lunch towards Style-Preserving in Text-to-Image Generation",
        authors="Wang, Spinelli, Wang, Bai, Qin, Chen",
        venue="arXiv 2404.02733 (2024)",
        url="https://arxiv.org/abs/2404.02733",
    ),
    inputs=Inputs(driven_by="text", references=(1, 4)),
    params=InstantStyleParams,
    bases={
        "sdxl": Defaults(width=1024, height=1024, steps=30, guidance_scale=5.0),
        "sd15": Defaults(width=512, height=512, steps=30, guidance_scale=5.0),
    },
    cost=Cost(row_passes=2.0),
    strength="The image attention is added with the weight strength * params.scale in the selected blocks, in both "
    "halves of the guidance. 1 is the authors' default; 0 is plain text-to-image exactly. Content subtraction does not "
    "depend on it. With several images, image i counts n w_i (combine concat) or w_i (mean).",
    main_parameters={
        "mode": "What to take: only the style, the arrangement too, or all of the picture.",
        "neg_content_prompt": "What the style picture shows and yours shall not, in a few words.",
    },
    rights=RIGHTS + " The InstantStyle repository has no licence file; it was not copied.",
    weights=WEIGHTS,
)
