"""The job: what is asked for, what became of it. Plain data, the same on both sides of the queue."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
OutputFormat = Literal["png", "jpeg", "webp"]
Priority = Literal["interactive", "batch"]
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


class Request(Frozen):
    """A validated, completed request: every default filled in, pictures named by the sha256 of their PNG blobs."""

    method: str
    model: str
    prompt: str = ""
    negative_prompt: str = ""
    style_images: tuple[Sha256, ...] = ()
    style_weights: tuple[float, ...] = ()
    content_image: Sha256 | None = None
    control_image: Sha256 | None = None
    seed: int
    num_images: int = 1
    width: int
    height: int
    steps: int
    guidance_scale: float
    strength: float
    params: dict[str, JsonValue] = {}
    output_format: OutputFormat = "png"

    @property
    def prepares_style(self) -> bool:
        """Whether it is for no picture: what depends on the style alone is computed for later."""
        return self.num_images == 0


class Terms(Frozen):
    """On which terms something that made a picture may be used: a model, weights, a LoRA, or the method itself."""

    id: str
    kind: str
    licence: str = ""
    url: str | None = None
    non_commercial: bool = False
    notes: str = ""


class Recipe(Request):
    """What a picture carries: the request that makes it again, and the terms of all that made it."""

    licences: tuple[Terms, ...] = ()


class NewJob(Frozen):
    """What the gateway submits. `queue` is the base model's queue; `digest` is the sha256 of the whole request body."""

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    owner: str
    queue: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    priority: Priority = "interactive"
    request: Request
    digest: Sha256
    idempotency_key: str | None = None
    deadline: datetime | None = None
    webhook_url: str | None = None
    max_active: int | None = Field(None, ge=1, description="unfinished jobs the owner may have, this one included")
    trace: str | None = Field(None, description="the traceparent of the request that asked for the job")


class Progress(Frozen):
    """How far a running job is. `fraction` is 0..1 over the whole job."""

    stage: Literal["load", "prepare", "denoise", "decode", "publish"]
    step: int = 0
    steps: int = 0
    fraction: float = Field(default=0.0, ge=0.0, le=1.0)


class Image(Frozen):
    """One published picture; `blob` is its name in the blob store."""

    blob: str
    width: int
    height: int
    content_type: str
    sha256: Sha256
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
    """What a commit names: the pictures, where the time went, and the manifest's facts."""

    images: tuple[Image, ...]
    timings: Timings = Timings()
    gpu_seconds: float = 0.0
    style_cache: Literal["hit", "miss", "none"] = "none"


class Failure(Frozen):
    """Why a job failed: a stable code and a sentence for people."""

    code: str
    detail: str


class Job(Frozen):
    """The record of a job, as read from the store. Times are UTC, by the Redis clock.

    `preview` is the step of its newest preview, None when it has none.
    """

    id: str
    owner: str
    queue: str
    priority: Priority
    state: State
    request: Request
    token: int = 0
    attempts: int = 0
    worker: str | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    lease_until: datetime | None = None
    deadline: datetime | None = None
    webhook_url: str | None = None
    trace: str | None = None
    progress: Progress | None = None
    preview: int | None = None
    result: Result | None = None
    failure: Failure | None = None


def from_millis(millis: int) -> datetime:
    """The UTC time of a Redis clock reading in milliseconds."""
    return datetime.fromtimestamp(millis / 1000, tz=UTC)


def to_millis(moment: datetime) -> int:
    """A UTC time as milliseconds, as the Lua scripts keep it."""
    return round(moment.timestamp() * 1000)
