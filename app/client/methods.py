"""What the service says of its methods."""

from pydantic import JsonValue

from .models import Answer


class Paper(Answer):
    """The publication a method follows."""

    title: str
    authors: str
    venue: str
    url: str


class Inputs(Answer):
    """Which inputs a method takes; `references` is the least and the most of style images."""

    driven_by: str
    references: tuple[int, int]
    content_image: str
    mask_image: str = "none"
    controls: tuple[str, ...]
    instead_of_references: str | None = None
    needs: str | None = None


class Defaults(Answer):
    """What a request gets when it does not say, on one base model. Sizes in pixels."""

    width: int
    height: int
    steps: int
    guidance_scale: float
    strength: float


class Cost(Answer):
    """Evaluations of the network: per picture's step, and per step to prepare each reference or the content."""

    row_passes: float
    style_passes: float
    content_passes: float


class Licence(Answer):
    """On which terms something may be used."""

    name: str
    url: str | None = None
    gated: bool
    non_commercial: bool
    notice: str


class LicenceView(Answer):
    """On which terms a model may be used."""

    id: str
    kind: str
    licence: Licence


class RecommendationView(Answer):
    """Why a method is the default of a model, for what is drawn from: `input` is text or content_image."""

    model: str
    input: str
    reason: str
    style_similarity: float
    content_accuracy: float


class MethodView(Answer):
    """A method: what it takes, what it costs, on which terms, on which models it runs now."""

    name: str
    aliases: list[str]
    family: str
    version: int
    title: str
    summary: str
    brief: str
    paper: Paper
    experimental: bool
    experimental_on: tuple[str, ...]
    inputs: Inputs
    parameters: dict[str, JsonValue]
    main_parameters: dict[str, str]
    strength: str
    defaults: dict[str, Defaults]
    cost: Cost
    weights: list[str]
    rights: str
    terms: list[LicenceView]
    models: list[str]
    available: list[str]
    refusals: dict[str, str]
    warm: bool
    recommended: tuple[RecommendationView, ...] = ()


class MethodsView(Answer):
    """All methods."""

    methods: list[MethodView]
