"""What callers see of what can be asked for and of how the host stands: methods, models, health."""

from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from model_store.catalogue.entry import Base, Kind, Licence
from workers.contract.spec import Cost, Defaults, Family, Inputs, Paper

ModelState = Literal["warm", "loading", "broken", "installed", "partial", "missing"]


class LicenceView(BaseModel):
    """On which terms a model may be used."""

    id: str
    kind: Kind
    licence: Licence


class RecommendationView(BaseModel):
    """Why a method is the default of a model: it is the best measured of those that draw from the same input."""

    model: str
    input: Literal["text", "content_image"] = Field(description="what is drawn from, beside the style image")
    reason: str
    style_similarity: float = Field(description="0 no style, 1 the reference's own; mean of the evaluation")
    content_accuracy: float = Field(description="share of the pictures that show what was asked for")


class MethodView(BaseModel):
    """A technique: what it takes, what it costs, on which terms."""

    name: str
    aliases: list[str]
    family: Family
    version: int
    title: str
    brief: str = Field(description="what it does to a picture, in one plain sentence")
    summary: str
    paper: Paper
    experimental: bool
    experimental_on: tuple[Base, ...] = Field(description="base models on which it is experimental")
    inputs: Inputs
    parameters: dict[str, JsonValue] = Field(description="JSON Schema of `params`")
    main_parameters: dict[str, str] = Field(
        description="parameters worth a first try, each with one plain sentence; the others are for experts"
    )
    strength: str = Field(description="how `strength` 0..1 maps to the technique's own parameters")
    defaults: dict[Base, Defaults]
    cost: Cost
    weights: list[str]
    rights: str
    terms: list[LicenceView] = Field(description="licences of the served models it runs on and of its own weights")
    models: list[str] = Field(description="served base models it runs on")
    available: list[str] = Field(description="warm base models on which it runs with default parameters")
    refusals: dict[str, str] = Field(description="warm base models on which it does not, and why")
    warm: bool = Field(description="whether a worker has one of these models ready")
    recommended: list[RecommendationView] = Field(
        description="served models whose default method it is, as measured; see `method` of POST /stylize"
    )


class MethodsView(BaseModel):
    """All techniques."""

    methods: list[MethodView]


class InstalledModelView(BaseModel):
    """A model of the store: where it stands, on which terms it may be used."""

    id: str
    kind: Kind
    title: str
    base: Base | None = Field(description="the architecture it is or fits; null when it fits several")
    state: ModelState = Field(description="what a worker makes of it, else what of it lies in this host's store")
    licence: Licence
    bytes: int | None = Field(description="size of its files; rough before they are installed, null when unknown")
    command: str | None = Field(description="brings what is missing", examples=["stylize models pull sdxl"])
    reason: str | None = Field(None, description="why no worker can serve it, where it is broken")


class ModelView(InstalledModelView):
    """A served base model."""

    base: Base
    default: bool
    warm: bool = Field(description="whether a worker has it ready")
    notes: str = Field("", description="what people who choose it ought to know")
    knows: tuple[str, ...] = Field(
        (), description="the things that a demonstration model can draw; empty where it draws what it is asked for"
    )
    size_multiple: int = Field(description="what width and height must be multiples of, in pixels")
    prompt_tokens: int | None = Field(None, description="how many tokens of a text its text encoders read")


class NamedModelView(BaseModel):
    """What `model` may name in OpenAI's image API: a served base model or a method, as its clients list models."""

    id: str
    object: Literal["model"] = "model"
    created: Literal[0] = Field(0, description="unknown")
    owned_by: Literal["stylize"] = "stylize"


class ModelsView(BaseModel):
    """The served base models, and what is installed beside them; for OpenAI's clients the same as their list."""

    object: Literal["list"] = "list"
    data: list[NamedModelView] = Field(description="what `model` may name in OpenAI's image API")
    models: list[ModelView]
    adapters: list[InstalledModelView] = Field(
        description="adapters, encoders, ControlNets, LoRAs and styles of the store"
    )


class HealthView(BaseModel):
    """Whether requests can be served, and what is missing."""

    status: Literal["ready", "not ready"]
    checks: dict[str, str] = Field(examples=[{"redis": "ok", "blobs": "ok", "workers": "ok"}])
    models: dict[str, str] = Field(
        description="how each served model stands", examples=[{"sdxl": "missing; run: stylize models pull sdxl"}]
    )
