"""The job: what is asked for, what became of it. Plain data, the same on both sides of the queue."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from workers.contract.blobs.names import OutputFormat, Sha256

Priority = Literal["interactive", "batch"]
JobKind = Literal["stylize", "precompute", "train", "evaluate"]
PRIORITIES: tuple[Priority, ...] = ("interactive", "batch")


class Frozen(BaseModel):
    """Immutable data that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, cache_strings="keys")


class State(StrEnum):
    """Where a job stands; none goes backwards but running -> queued, when a lease ends."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def final(self) -> bool:
        """True once nothing can change any more."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELED)


class JobRequest(Frozen):
    """What every kind of job names."""

    kind: ClassVar[JobKind]

    method: str
    model: str

    @property
    def inputs(self) -> set[Sha256]:
        """The pictures that the job reads."""
        return set()

    @property
    def batch_size(self) -> int:
        """How many pictures of a batch it takes."""
        return 1


class StylizeRequest(JobRequest):
    """A validated, completed request: every default filled in, pictures named by the sha256 of their PNG blobs."""

    kind: ClassVar[JobKind] = "stylize"

    prompt: str = ""
    negative_prompt: str = ""
    style_images: tuple[Sha256, ...] = ()
    style_weights: tuple[float, ...] = ()
    content_image: Sha256 | None = None
    control_image: Sha256 | None = None
    mask_image: Sha256 | None = None
    seed: int
    num_images: int = Field(1, ge=1)
    width: int
    height: int
    steps: int
    guidance_scale: float
    strength: float
    params: dict[str, JsonValue] = {}
    output_format: OutputFormat = "png"

    @property
    def inputs(self) -> set[Sha256]:
        """The style, content and control pictures, and the mask."""
        return {*self.style_images, *(one for one in (self.content_image, self.control_image, self.mask_image) if one)}

    @property
    def batch_size(self) -> int:
        """The pictures asked for."""
        return self.num_images


class PrecomputeRequest(JobRequest):
    """What depends on a style alone, computed before somebody draws in it; no picture comes of it."""

    kind: ClassVar[JobKind] = "precompute"

    style_images: tuple[Sha256, ...] = ()
    style_weights: tuple[float, ...] = ()
    seed: int
    width: int
    height: int
    steps: int
    guidance_scale: float
    strength: float
    params: dict[str, JsonValue] = {}

    @property
    def inputs(self) -> set[Sha256]:
        """The style pictures."""
        return set(self.style_images)


class TrainRequest(JobRequest):
    """A style to learn from pictures by a training method."""

    kind: ClassVar[JobKind] = "train"

    name: str
    images: tuple[Sha256, ...]
    seed: int
    steps: int
    params: dict[str, JsonValue] = {}

    @property
    def inputs(self) -> set[Sha256]:
        """The pictures to learn from."""
        return set(self.images)


class EvaluateRequest(JobRequest):
    """A technique to judge by its published metrics, at some strengths."""

    kind: ClassVar[JobKind] = "evaluate"

    strengths: tuple[float, ...]
    cases: int = Field(ge=1)
    seed: int


GenerationRequest = StylizeRequest | PrecomputeRequest
"""What an engine runs."""
Payload = StylizeRequest | PrecomputeRequest | TrainRequest | EvaluateRequest
PAYLOADS: dict[str, type[Payload]] = {
    payload.kind: payload for payload in (StylizeRequest, PrecomputeRequest, TrainRequest, EvaluateRequest)
}


class Terms(Frozen):
    """On which terms something that made a picture may be used: a model, weights, a LoRA, or the method itself."""

    id: str
    kind: str
    licence: str = ""
    url: str | None = None
    non_commercial: bool = False
    notes: str = ""


class Recipe(StylizeRequest):
    """What a picture carries: the request that makes it again, and the terms of all that made it.

    `weight_storage` names how the weights were kept: only where they are kept so again is it the same picture.
    """

    licences: tuple[Terms, ...] = ()
    weight_storage: str = "full"


class Progress(Frozen):
    """How far a running job is. `fraction` is 0..1 over the whole job."""

    stage: Literal["load", "prepare", "denoise", "decode", "publish"]
    step: int = 0
    steps: int = 0
    fraction: float = Field(default=0.0, ge=0.0, le=1.0)


class PublishedPicture(Frozen):
    """A picture in the blob store; `blob` is its name there."""

    blob: str
    width: int
    height: int
    content_type: str
    sha256: Sha256


class Image(PublishedPicture):
    """One of the pictures asked for."""

    seed: int


class Timings(Frozen):
    """Seconds spent in each stage of the attempt that succeeded."""

    queue: float = 0.0
    load: float = 0.0
    prepare: float = 0.0
    denoise: float = 0.0
    decode: float = 0.0
    publish: float = 0.0


class Result(Frozen):
    """What a commit names: the pictures, where the time went, and the manifest's facts.

    `control_map` is the map that was made of the control picture, None when none was made. `warnings` say in sentences
    what of the request did not count.
    """

    images: tuple[Image, ...]
    control_map: PublishedPicture | None = None
    timings: Timings = Timings()
    gpu_seconds: float = 0.0
    style_cache: Literal["hit", "miss", "none"] = "none"
    warnings: tuple[str, ...] = ()


class Failure(Frozen):
    """Why a job failed: a stable code and a sentence for people."""

    code: str
    detail: str


class Job(Frozen):
    """A job, as it is submitted and as the store keeps it. Times are UTC, by the Redis clock once it is accepted.

    `queue` is the base model's queue; `digest` is the sha256 of all that was asked for, by which the same
    `idempotency_key` means the same job. `trace` is the traceparent of the request that asked for it. `comparison` is
    the id of the comparison that it is a part of. `preview` is the step of its newest preview, None when it has none.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    owner: str
    queue: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    priority: Priority = "interactive"
    state: State = State.QUEUED
    request: Payload
    digest: Sha256 = Field(exclude=True)
    idempotency_key: str | None = Field(None, exclude=True)
    token: int = 0
    attempts: int = 0
    worker: str | None = None
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    started_at: datetime | None = None
    finished_at: datetime | None = None
    lease_until: datetime | None = None
    deadline: datetime | None = None
    webhook_url: str | None = None
    trace: str | None = None
    comparison: str | None = None
    progress: Progress | None = None
    preview: int | None = None
    result: Result | None = None
    failure: Failure | None = None

    @property
    def kind(self) -> JobKind:
        """What is to be done: which payload `request` is."""
        return self.request.kind


def from_millis(millis: int) -> datetime:
    """The UTC time of a Redis clock reading in milliseconds."""
    return datetime.fromtimestamp(millis / 1000, tz=UTC)


def to_millis(moment: datetime) -> int:
    """A UTC time as milliseconds, as the Lua scripts keep it."""
    return round(moment.timestamp() * 1000)
