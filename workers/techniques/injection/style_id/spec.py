"""StyleID: a style picture's keys and values in the self-attention of a content picture that is painted again."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from model_store.catalogue.entry import Base
from workers.contract.spec import Cost, Defaults, Inputs, Paper, Params, Spec

DecoderIndex = Annotated[int, Field(ge=0, le=11)]


class StyleIdParams(Params):
    """Parameters of style-id."""

    gamma: float = Field(
        0.75, ge=0, le=1, description="query preservation up to strength 0.5; higher keeps more of the content"
    )
    temperature: float = Field(
        1.5, gt=0, le=5, description="factor on the attention logits of injected layers; above 1 sharpens"
    )
    injection_layers: tuple[DecoderIndex, ...] | None = Field(
        None,
        max_length=12,
        description="decoder indices of the self-attention layers that get the style, index i being "
        "up_blocks.{i//3}.attentions.{i%3}; default: 7..11 on SD1.5 (6..11 with schedule ldm), 4 and 5 on SDXL",
    )
    init_adain: bool = Field(True, description="give the starting latents the style's mean and spread per channel")
    adain_eps: float | None = Field(
        None, ge=0, le=1, description="added to the content's spread; default 1e-4, and 0 with schedule ldm"
    )
    schedule: Literal["aligned", "ldm"] = Field(
        "aligned",
        description="aligned: the inversion mirrors the sampling exactly; ldm: the one behind the published figures, "
        "meant for 50 steps: inverted up to level 999, sampled from the step before the last",
    )
    start_step: int | None = Field(
        None, ge=1, le=1000, description="schedule ldm: sample only the first so many timesteps; default all but one"
    )
    inversion_prompt: str = Field(
        "", max_length=2000, description="text while the pictures are inverted; best left empty"
    )
    inversion_guidance_scale: float = Field(
        1.0, ge=0, le=30, description="guidance while the pictures are inverted; anything but 1 reconstructs badly"
    )
    fit: Literal["content", "exact"] = Field(
        "content",
        description="content: the result has the content image's own size, shrunk to at most width x height pixels in "
        "all and rounded down to what the model can do; exact: width by height, the content image cropped to it",
    )

    @model_validator(mode="after")
    def _agreeing(self) -> Self:
        if self.start_step is not None and self.schedule != "ldm":
            raise ValueError("start_step belongs to schedule ldm")
        if self.injection_layers is not None and len(set(self.injection_layers)) != len(self.injection_layers):
            raise ValueError("injection_layers repeats an index")
        return self

    def layers(self, base: Base) -> tuple[int, ...]:
        """Return the decoder indices to inject into, the authors' own on SD1.5, AttenST's on SDXL by default."""
        if self.injection_layers is not None:
            return self.injection_layers
        if base == "sdxl":
            return (4, 5)
        return (6, 7, 8, 9, 10, 11) if self.schedule == "ldm" else (7, 8, 9, 10, 11)

    def eps(self) -> float:
        """Return what AdaIN adds to the content's spread."""
        if self.adain_eps is not None:
            return self.adain_eps
        return 0.0 if self.schedule == "ldm" else 1e-4


SPEC = Spec(
    name="style-id",
    family="injection",
    version=1,
    title="StyleID",
    brief="Repaints your content picture with the strokes and colours of the style picture and keeps its layout.",
    summary="Paints the content image again in the style of the style image: both are inverted, and the style's keys "
    "and values replace the content's in the decoder's self-attention. Strokes, texture and colour change, the layout "
    "stays. Nothing is random: all pictures of a request with one prompt are the same. A prompt is optional, and has "
    "its full effect with a guidance_scale above 1. The style image is covered and cropped to the size of the result. "
    "Experimental on SDXL, which the authors did not try.",
    paper=Paper(
        title="Style Injection in Diffusion: A Training-free Approach for Adapting Large-scale Diffusion Models for "
        "Style Transfer",
        authors="Chung, Hyun, Heo",
        venue="CVPR 2024, pp. 8795-8805",
        url="https://arxiv.org/abs/2312.09008",
    ),
    inputs=Inputs(driven_by="image", references=(1, 1), content_image="required"),
    params=StyleIdParams,
    bases={
        "sd15": Defaults(width=512, height=512, steps=20, guidance_scale=1.0, strength=0.5),
        "sdxl": Defaults(width=1024, height=1024, steps=40, guidance_scale=1.0, strength=0.5),
    },
    cost=Cost(row_passes=1.0, style_passes=1.0, content_passes=1.0),
    strength="0 is the reconstructed content: no injection, no AdaIN. Up to 0.5 the injected layers' outputs and the "
    "starting latents move from the content's own to the published method's, which 0.5 is exactly, with the "
    "parameters as given. Above, gamma falls, to 0.4 of its value at 1: the authors' strong style setting 0.3 with the "
    "default 0.75.",
    main_parameters={
        "gamma": "Higher keeps more of the content picture.",
    },
    rights="Written from the paper; no code of the authors is used. Their code (jiwoogit/StyleID) is under the MIT "
    "licence. The method has no weights of its own.",
    experimental_on=("sdxl",),
)
