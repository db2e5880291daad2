"""What a technique declares about itself. Pydantic only: the gateway reads it without torch.

From a spec derive the OpenAPI schema, `GET /methods`, the price of a request, the weight list and the README row.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from model_store.catalogue.entry import Base

Family = Literal["encoder", "shared-attention", "injection", "prior-noise", "edit"]
ModelName = Annotated[str, Field(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$", max_length=100)]
"""The catalogue's id of an installed model: never a path."""

Size = tuple[int, int]
"""Width and height in pixels."""

MOST_LORAS = 4
VAE_FACTOR = 8
"""Pixels of a picture's side for one of its latent's, in all base models."""


class Lora(BaseModel):
    """An installed LoRA and how much of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    id: ModelName
    scale: float = Field(1.0, ge=-2, le=2, description="1 as it was trained, 0 nothing of it, negative: away from it")


class Params(BaseModel):
    """Root of every technique's own parameters: immutable, unknown keys, NaN and infinity refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    loras: tuple[Lora, ...] = Field(
        (),
        max_length=MOST_LORAS,
        description="installed LoRAs added to the base model for this request, in its denoiser (the UNet of SD1.5 and "
        "SDXL, the transformer of FLUX.1) and its text encoders; those of FLUX.1 fit all its models. GET /models lists "
        "them, `stylize models add` installs them",
    )

    def guided(self, guidance_scale: float) -> bool:
        """Return whether each picture has a second, unconditional row, for classifier-free guidance.

        Methods on models that take `guidance_scale` as a number say it by a parameter of their own.
        """
        return guidance_scale > 1

    def row_factor(self) -> float:
        """Return how many times the `row_passes` of the method's cost these parameters ask for."""
        return 1.0

    def denoised_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size of what is denoised for a picture: larger where something stands beside it."""
        return width, height

    def size_fault(self, width: int, height: int, *, base: Base, references: int) -> str:
        """Return why a size cannot be drawn with any strength above 0; empty when it can.

        `references` is the number of style images that count.
        """
        return ""

    def input_faults(self, given: Collection[str], *, base: Base) -> Mapping[str, str]:
        """Return what is wrong with the pictures that are given, beyond their number and kind, on a base model.

        `given` are fields of the request, such as `mask_image`; the faults are sentences by JSON pointer.
        """
        return {}

    def content_fault(self, content: Size, canvas: Size) -> str:
        """Return why a content image of a size cannot be painted on a picture of another; empty when it can."""
        return ""


class DeclaredSpec(BaseModel):
    """Immutable data of a spec."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Paper(DeclaredSpec):
    """The publication a technique follows."""

    title: str
    authors: str
    venue: str
    url: str


class Inputs(DeclaredSpec):
    """Which inputs a technique takes. `references` is the allowed number of style images (least, most).

    `instead_of_references` names a parameter that may be given in place of any style image, `needs` one without which
    nothing can be drawn. White of `mask_image` is what is repainted of the content image.
    """

    driven_by: Literal["text", "image"] = "text"
    references: tuple[int, int] = (1, 4)
    content_image: Literal["required", "optional", "none"] = "none"
    mask_image: Literal["required", "optional", "none"] = "none"
    controls: tuple[str, ...] = ()
    instead_of_references: str | None = None
    needs: str | None = None


class Defaults(DeclaredSpec):
    """What a request gets when it does not say, on one base model. Sizes in pixels."""

    width: int
    height: int
    steps: int
    guidance_scale: float
    strength: float = Field(1.0, ge=0.0, le=1.0)


class Cost(DeclaredSpec):
    """Sample-evaluations of the denoiser for a request: fixed per style and content, and per step and picture.

    `style_passes` and `content_passes` count evaluations per step to prepare each reference (0 when nothing is
    inverted); `row_passes` counts evaluations per step and picture with guidance (2 = a conditional and an
    unconditional row).
    """

    row_passes: float = 2.0
    style_passes: float = 0.0
    content_passes: float = 0.0


class Spec(DeclaredSpec):
    """Everything the gateway, the documentation and the worker need to know about a technique."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    family: Family
    version: int
    title: str
    brief: str
    """What it does to a picture, for people who know nothing of the method: one plain sentence."""
    summary: str
    paper: Paper
    inputs: Inputs
    params: type[Params]
    bases: dict[Base, Defaults]
    cost: Cost = Cost()
    strength: str
    """How `strength` 0..1 maps to the technique's own parameters, for people."""
    main_parameters: dict[str, str] = {}
    """Those of `params` that are worth a first try, each with one plain sentence; the others are for experts."""
    rights: str
    """Notes on licence and patents, for people."""
    weights: tuple[str, ...] = ()
    """Catalogue ids of what must be installed beside the base model."""
    experimental: bool = False
    experimental_on: tuple[Base, ...] = ()
    """Base models that its authors did not try; `experimental` means all of them."""

    def params_schema(self) -> dict[str, JsonValue]:
        """Return the JSON Schema of `params`."""
        return self.params.model_json_schema()
