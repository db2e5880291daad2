"""What the service answers, named as in its OpenAPI document, and what a request may hold.

A newer service may say more than is written here: what it adds is kept as it came.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypedDict

from pydantic import BaseModel, ConfigDict, JsonValue

File = Path | str | bytes
"""A picture: the path of a file, or its bytes."""


class StylizeFields(TypedDict, total=False):
    """What `POST /stylize` takes beside the method; see its documentation."""

    prompt: str
    negative_prompt: str
    style_images: Sequence[File]
    style_id: str
    style_weights: Sequence[float]
    content_image: File
    control_image: File
    mask_image: File
    seed: int
    num_images: int
    width: int
    height: int
    steps: int
    guidance_scale: float
    strength: float
    model: str
    params: Mapping[str, Any]
    output_format: Literal["png", "jpeg", "webp"]
    priority: Literal["interactive", "batch"]
    webhook_url: str
    cancel_after: str
    idempotency_key: str


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def final(self) -> bool:
        """True once nothing can change any more."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED)


class Answer(BaseModel):
    """Immutable data from the service."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Progress(Answer):
    """How far a running job is; `fraction` is 0 to 1 over the whole job."""

    stage: str
    step: int
    steps: int
    fraction: float


class QueueView(Answer):
    """How many jobs go before this one, and when it may start and finish, in seconds from now."""

    position: int | None = None
    eta_start_seconds: float | None = None
    eta_finish_seconds: float | None = None


class ImageView(Answer):
    """One finished picture."""

    url: str
    width: int
    height: int
    content_type: str
    sha256: str
    seed: int
    expires_at: datetime | None = None


class ControlMapView(Answer):
    """The map that a job made of its control or content picture."""

    url: str
    width: int
    height: int
    content_type: str
    sha256: str
    expires_at: datetime | None = None


class FailureView(Answer):
    """Why a job failed."""

    type: str
    code: str
    detail: str


class Timings(Answer):
    """Seconds spent in each stage."""

    queue: float
    load: float
    prepare: float
    denoise: float
    decode: float
    publish: float


class CacheView(Answer):
    """What was reused: `style` is hit, miss or none."""

    style: str


class LinksView(Answer):
    """Where to go from here."""

    self: str
    events: str
    cancel: str | None = None
    delete: str | None = None
    zip: str | None = None


class RecipeView(Answer):
    """The completed request; submitted again it gives the same pictures."""

    method: str
    model: str
    prompt: str
    negative_prompt: str
    style_images: tuple[str, ...]
    style_weights: tuple[float, ...]
    content_image: str | None = None
    control_image: str | None = None
    mask_image: str | None = None
    seed: int
    num_images: int
    width: int
    height: int
    steps: int
    guidance_scale: float
    strength: float
    params: dict[str, JsonValue]
    output_format: str


class PrecomputeRecipeView(Answer):
    """What is computed of a style before somebody draws in it."""

    method: str
    model: str
    style_images: tuple[str, ...]
    style_weights: tuple[float, ...]
    seed: int
    width: int
    height: int
    steps: int
    guidance_scale: float
    strength: float
    params: dict[str, JsonValue]


class TrainRecipeView(Answer):
    """A style to learn from pictures."""

    method: str
    model: str
    name: str
    images: tuple[str, ...]
    seed: int
    steps: int
    params: dict[str, JsonValue]


class EvaluateRecipeView(Answer):
    """A technique to judge."""

    method: str
    model: str
    strengths: tuple[float, ...]
    cases: int
    seed: int


class JobView(Answer):
    """A job: what was asked for and what became of it. `recipe` is of its `kind`."""

    id: str
    kind: str = "stylize"
    state: JobState
    method: str
    model: str
    priority: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    progress: Progress | None = None
    preview: str | None = None
    queue: QueueView | None = None
    images: list[ImageView]
    control_map: ControlMapView | None = None
    error: FailureView | None = None
    warnings: list[str] = []
    timings: Timings | None = None
    gpu_seconds: float | None = None
    cache: CacheView
    attempts: int
    comparison: str | None = None
    recipe: RecipeView | PrecomputeRecipeView | TrainRecipeView | EvaluateRecipeView
    links: LinksView


class JobsView(Answer):
    """Some jobs, newest first; `cursor` asks for the next page, and is None on the last."""

    jobs: list[JobView]
    cursor: str | None = None
    unreadable: list[str] = []


class PrecomputeView(Answer):
    """How far a style is prepared for a method on a model: `state` is cold, preparing or ready."""

    method: str
    model: str
    state: str
    workers: int
    job: str | None = None


class StyleReference(Answer):
    """One picture of a style and how much it counts beside the others."""

    sha256: str
    weight: float


class StyleLinksView(Answer):
    """Where to go from here."""

    self: str
    precompute: str


class StyleView(Answer):
    """A saved style."""

    id: str
    name: str
    references: tuple[StyleReference, ...]
    versions: dict[str, int]
    prepared: list[PrecomputeView]
    created_at: datetime
    links: StyleLinksView


class StylesView(Answer):
    """Some styles, newest first; `cursor` asks for the next page, and is None on the last."""

    styles: list[StyleView]
    cursor: str | None = None
