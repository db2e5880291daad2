"""IP-Adapter: the style images as an image prompt, read through a published adapter. No training."""

from pydantic import Field

from workers.contract.spec import Cost, Defaults, Inputs, Paper, Spec
from workers.techniques.encoder.params import RIGHTS, WEIGHTS, Blocks, EncoderParams


class IPAdapterParams(EncoderParams):
    """Knobs of ip-adapter."""

    target_blocks: Blocks = Field(
        ("block",),
        description="the image is seen by cross-attentions whose name contains any of these; default: by all",
    )


SPEC = Spec(
    name="ip-adapter",
    family="encoder",
    version=1,
    title="IP-Adapter",
    brief="Takes colours, texture and a little of the subject of your pictures: fast, and good with several of them.",
    summary="Shows the style images to the model as an image prompt beside the text. Fast and faithful in colour and "
    "subject; at high strength the subjects of the style image leak into the picture (instantstyle leaks less).",
    paper=Paper(
        title="IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion Models",
        authors="Ye, Zhang, Liu, Han, Yang",
        venue="arXiv 2308.06721 (2023)",
        url="https://arxiv.org/abs/2308.06721",
    ),
    inputs=Inputs(driven_by="text", references=(1, 4)),
    params=IPAdapterParams,
    bases={
        "sd15": Defaults(width=512, height=512, steps=30, guidance_scale=7.5, strength=0.5),
        "sdxl": Defaults(width=1024, height=1024, steps=30, guidance_scale=5.0, strength=0.5),
    },
    cost=Cost(row_passes=2.0),
    strength="The image attention is added with the weight strength * params.scale in every selected block, in both "
    "halves of the guidance. 1 is the authors' default, 0.5 (the default here) what they suggest beside a text prompt; "
    "0 is plain text-to-image exactly. With several images, image i counts n w_i (combine concat) or w_i (mean).",
    main_parameters={
        "scale": "How much the style pictures count at full strength.",
        "combine": "With several style pictures: use all of each, or one average of them.",
    },
    rights=RIGHTS,
    weights=WEIGHTS,
)
