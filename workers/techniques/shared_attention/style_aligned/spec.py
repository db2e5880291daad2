"""StyleAligned: pictures that attend to a reference's self-attention features. No training, no weights."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from model_store.catalogue.entry import Base
from workers.contract.spec import VAE_FACTOR, Cost, Defaults, Inputs, Paper, Spec
from workers.techniques.control_params import ControlParams

SELF_ATTENTIONS: Mapping[Base, int] = {"sd15": 16, "sdxl": 70}
UNET_LEVELS: Mapping[Base, int] = {"sd15": 4, "sdxl": 3}
GROUP_NORM_WITHOUT_IMAGE: frozenset[Base] = frozenset({"sd15"})
"""Where a generated reference shares its GroupNorm unless the request says."""
Pixels = Annotated[int, Field(ge=0, le=8192)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class StyleAlignedParams(ControlParams):
    """Knobs of style-aligned. Those that are null by default follow the paper's notebooks for the case at hand."""

    reference_prompt: str | None = Field(
        None,
        max_length=2000,
        description="what the reference shows, best as '<subject>, <style words>' with the style words of the prompt; "
        "with a style image it describes that image (a wrong description spoils the inversion), without one the "
        "reference is generated from it",
    )
    reference_seed: int = Field(0, ge=0, le=2**53, description="the noise that a generated reference starts from")
    share_attention: bool = Field(True, description="attend to the reference's keys and values")
    adain_queries: bool = Field(True, description="give the queries the reference's mean and deviation")
    adain_keys: bool = Field(True, description="give the keys the reference's mean and deviation")
    adain_values: bool = Field(False, description="give the values the reference's mean and deviation")
    share_group_norm: bool | None = Field(
        None,
        description="normalise with the reference's moments; default: with a style image, and on SD1.5, yes; for a "
        "generated reference on SDXL, no",
    )
    share_layer_norm: bool = Field(
        True, description="has no effect, as in the published code", json_schema_extra={"x-no-effect": True}
    )
    full_attention_share: bool = Field(
        False,
        description="all pictures of the request attend to each other, without AdaIN, scale or shift; the reference "
        "then depends on them and is denoised with them each time",
    )
    shared_score_scale: float = Field(
        1.0, ge=0, le=4, description="factor on the reference's keys; 0.5 with shift 0 for very famous pictures"
    )
    shared_score_shift: float | None = Field(
        None,
        ge=-10,
        le=10,
        description="added to the logits of the reference's keys, higher is closer to the reference; default: ln 2 "
        "with a style image, 0 with a generated reference",
    )
    only_self_level: Fraction = Field(
        0.0, description="roughly the share of self-attentions left alone; more keeps the reference's subject out"
    )
    inversion_guidance_scale: float | None = Field(
        None, ge=0, le=20, description="guidance of the inversion; default: 2, or 1 without reference_prompt"
    )
    inversion_offset: int | None = Field(
        None,
        ge=0,
        le=999,
        description="how many of the noisiest, least reliable inverted latents are skipped; below steps; default: 5, "
        "or what fewer steps allow",
    )
    inversion_time_ids: tuple[Pixels, Pixels, Pixels, Pixels, Pixels, Pixels] = Field(
        (1024, 1024, 0, 0, 1024, 1024), description="SDXL's size conditioning during the inversion"
    )
    control: Literal["canny", "depth", "tile"] | None = Field(
        None,
        validate_default=True,
        description="kind of the control image: edges, depth map, or tile, the picture itself. Default: "
        "control_source, when that makes one",
    )
    control_on_reference: bool = Field(
        False, description="let the control image shape the reference, too: stamps the content on the style"
    )
    controlnet_text: Literal["matching", "negative"] = Field(
        "matching",
        description="text that the ControlNet sees: each half its own, or as in the published code the negative prompt",
    )
    controlnet_conditioning_scale: float = Field(0.8, ge=0, le=2, description="strength of the control image")
    control_guidance_start: Fraction = Field(0.0, description="share of the steps before control begins")
    control_guidance_end: Fraction = Field(1.0, description="share of the steps after which control ends")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        level = min(self.only_self_level, 1 - self.only_self_level)
        if level > 0 and all(int(level * layers) == 0 for layers in SELF_ATTENTIONS.values()):
            raise ValueError(
                f"only_self_level {self.only_self_level} picks no layer at all; use 0 or 1, or go further in"
            )
        if self.control_guidance_start > self.control_guidance_end:
            raise ValueError("control_guidance_start is after control_guidance_end")
        return self

    def size_fault(self, width: int, height: int, *, base: Base, references: int) -> str:
        """Return why a size is too small for the published UNets: a self-attention would see a single token."""
        return too_small(width, height, least_side(UNET_LEVELS[base]), base)


def least_side(levels: int, vae_factor: int = VAE_FACTOR) -> int:
    """Return the pixels of the smallest side at which the deepest of a UNet's levels has more than one token."""
    return vae_factor * 2**levels


def too_small(width: int, height: int, least: int, model: str) -> str:
    """Return why a side is smaller than the least; empty when it is not."""
    if min(width, height) >= least:
        return ""
    return (
        f"style-aligned needs at least {least}x{least} pixels on {model}: below, as at {width}x{height}, the deepest "
        "self-attention has a single token"
    )


SPEC = Spec(
    name="style-aligned",
    family="shared-attention",
    version=1,
    title="StyleAligned",
    brief="Takes strokes, texture and colours of one picture: best for a set that belongs together.",
    summary="The pictures attend to a reference in every self-attention of the UNet, and their queries and keys take "
    "its statistics. The reference is a style image, inverted, or a picture made from params.reference_prompt. It is "
    "run once; later requests in its style cost no more than plain text-to-image and one tenth.",
    paper=Paper(
        title="Style Aligned Image Generation via Shared Attention",
        authors="Hertz, Voynov, Fruchter, Cohen-Or",
        venue="CVPR 2024",
        url="https://arxiv.org/abs/2312.02133",
    ),
    inputs=Inputs(
        driven_by="text",
        references=(1, 1),
        controls=("canny", "depth", "tile"),
        instead_of_references="reference_prompt",
    ),
    params=StyleAlignedParams,
    bases={
        "sd15": Defaults(width=512, height=512, steps=30, guidance_scale=7.5),
        "sdxl": Defaults(width=1024, height=1024, steps=30, guidance_scale=10.0),
    },
    cost=Cost(row_passes=2.0, style_passes=4.0),
    strength="How strongly each picture follows its reference, w = strength. A picture's statistics (AdaIN, GroupNorm) "
    "are moved by the share w from its own to the paper's, and the reference's columns weigh w * exp(shift) in the "
    "softmax, that is ln w is added to shared_score_shift; both grow with w. 1 is the authors' setting for the case at "
    "hand (shift ln 2 for a style image), a higher shared_score_shift goes further; 0 is plain text-to-image exactly. "
    "No strength needs the reference to be run again.",
    main_parameters={
        "reference_prompt": "What the style picture shows and in which style, in a few words.",
        "shared_score_shift": "Higher comes closer to the style picture.",
    },
    rights="Written from the paper and the published description of the algorithm. The authors' code "
    "(google/style-aligned) is Apache-2.0; there are no weights. With a control image the ControlNet's own licence "
    "applies.",
)
