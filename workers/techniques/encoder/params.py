"""The parameters that IP-Adapter and InstantStyle share. Pydantic only: the gateway reads it without torch."""

from typing import Annotated, Literal

from pydantic import Field

from workers.contract.spec import Params

Variant = Literal["base", "plus", "light", "vit-h"]
Blocks = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Field(min_length=1, max_length=32)]

WEIGHTS = ("ip-adapter-sd15", "ip-adapter-sdxl")
"""Catalogue ids of the adapters used unless `adapter` asks for another; the image encoders come with them. A base model
that has an adapter of its own in its folder needs none of them."""

RIGHTS = (
    "Runs published adapter files through diffusers; no code of the projects is used. Code of IP-Adapter: Apache-2.0; "
    "its files (h94/IP-Adapter) are labelled Apache-2.0 on the hub."
)


class EncoderParams(Params):
    """Parameters of every technique that looks at the style images through an image-prompt adapter."""

    scale: float = Field(1.0, ge=0, le=4, description="weight of the image attention at strength 1; 1 is the authors'")
    adapter: Variant = Field(
        "base",
        description="which published adapter: base (one embedding, 4 tokens), plus (patch features, 16 tokens, closer "
        "to the picture), light (SD1.5, closer to the prompt), vit-h (SDXL with the smaller image encoder)",
    )
    combine: Literal["concat", "mean"] = Field(
        "concat",
        description="several style images: all their tokens in one attention, or one mean embedding (not with plus)",
    )
    fit: Literal["crop", "squash"] = Field(
        "crop",
        description="the image encoder sees the middle square of a style image, or all of it squashed to a square",
    )
    sampler: Literal["ddim", "dpm++", "euler", "pndm", "unipc"] = "ddim"
