"""What callers get to see, as pydantic models: the OpenAPI document derives from them."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from app.auth.signed_urls import Links
from app.services.model_status import State as ModelState
from model_store.catalogue.entry import Base, Kind, Licence
from workers.contract.jobs.models import Job, JobKind, Payload, Priority, Progress, State, Timings
from workers.contract.jobs.results import QueueEstimate
from workers.contract.spec import Cost, Defaults, Family, Inputs, Paper


class FaultView(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="JSON pointer as URI fragment", examples=["#/prompt"])
    detail: str = Field(examples=["is required"])


class ProblemView(BaseModel):
    """An error, after RFC 9457; served as application/problem+json."""

    type: str = Field(examples=["urn:stylize:problem:invalid-request"])
    title: str
    status: int
    detail: str
    errors: list[FaultView] = []


class QueueView(BaseModel):
    """Where a job stands. Estimates come from jobs of its kind that were done; null while there were none."""

    position: int | None = Field(description="jobs that go before this one; 0 is next; null once it runs")
    eta_start_seconds: float | None = Field(None, description="from now; 0 once it runs")
    eta_finish_seconds: float | None = Field(None, description="from now, waiting included")


class ImageView(BaseModel):
    """One finished picture."""

    url: str
    width: int
    height: int
    content_type: str
    sha256: str
    seed: int
    expires_at: datetime | None = Field(description="when the url stops working; null: with the job")


class FailureView(BaseModel):
    """Why a job failed."""

    type: str = Field(examples=["urn:stylize:job:out-of-memory"])
    code: str
    detail: str


class CacheView(BaseModel):
    """What was reused."""

    style: Literal["hit", "miss", "none"] = "none"


class LinksView(BaseModel):
    """Where to go from here; DELETE `cancel` to cancel."""

    self: str
    events: str
    cancel: str | None = None


class JobView(BaseModel):
    """A job: what was asked for and what became of it."""

    id: str
    kind: JobKind = Field(description="what is to be done; `recipe` is of this kind")
    state: State
    method: str
    model: str
    priority: Priority
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: Progress | None
    preview: str | None = Field(
        None,
        description="where a small JPEG of what the job is becoming is; another address after each new one, "
        "null before the first and once the job is final",
    )
    queue: QueueView | None = Field(description="present while the job waits or runs")
    images: list[ImageView]
    error: FailureView | None
    timings: Timings | None = Field(description="seconds per stage; present when finished")
    gpu_seconds: float | None
    cache: CacheView
    attempts: int
    recipe: Payload = Field(description="the completed request; posted again it gives the same pictures")
    links: LinksView


class JobsView(BaseModel):
    """Some jobs, newest first."""

    jobs: list[JobView]
    cursor: str | None = Field(description="pass it as `cursor` for the next page; null on the last")
    unreadable: list[str] = Field([], description="ids of jobs of another release, which this one cannot show")


class LicenceView(BaseModel):
    """On which terms a model may be used."""

    id: str
    kind: Kind
    licence: Licence


class MethodView(BaseModel):
    """A technique: what it takes, what it costs, on which terms."""

    name: str
    aliases: list[str]
    family: Family
    version: int
    title: str
    summary: str
    paper: Paper
    experimental: bool
    experimental_on: tuple[Base, ...] = Field(description="base models on which it is experimental")
    inputs: Inputs
    parameters: dict[str, JsonValue] = Field(description="JSON Schema of `params`")
    strength: str = Field(description="how `strength` 0..1 maps to the technique's own knobs")
    defaults: dict[Base, Defaults]
    cost: Cost
    weights: list[str]
    rights: str
    terms: list[LicenceView] = Field(description="licences of the served models it runs on and of its own weights")
    models: list[str] = Field(description="served base models it runs on")
    available: list[str] = Field(description="warm base models on which it runs with default parameters")
    refusals: dict[str, str] = Field(description="warm base models on which it does not, and why")
    warm: bool = Field(description="whether a worker has one of these models ready")


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


class ModelsView(BaseModel):
    """The served base models, and what is installed beside them."""

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


def view(job: Job, links: Links, estimate: QueueEstimate | None) -> JobView:
    """Return what callers see of a job."""
    result = job.result
    return JobView(
        id=job.id,
        kind=job.kind,
        state=job.state,
        method=job.request.method,
        model=job.request.model,
        priority=job.priority,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        progress=_progress(job),
        preview=None if job.preview is None else links.preview(job.id, job.preview),
        queue=_queue(estimate),
        images=_images(job, links),
        error=_failure(job),
        timings=result.timings if result else None,
        gpu_seconds=result.gpu_seconds if result else None,
        cache=CacheView(style=result.style_cache if result else "none"),
        attempts=job.attempts,
        recipe=job.request,
        links=_links(job, links),
    )


def _progress(job: Job) -> Progress | None:
    """Return how far a job is; one that has succeeded is through, whatever its worker's last word was."""
    if job.state is not State.SUCCEEDED:
        return job.progress
    steps = job.progress.steps if job.progress else 0
    return Progress(stage="publish", step=steps, steps=steps, fraction=1.0)


def _images(job: Job, links: Links) -> list[ImageView]:
    if job.result is None:
        return []
    addresses = (links.image(job.id, number) for number in range(len(job.result.images)))
    return [
        ImageView(**image.model_dump(exclude={"blob"}), url=url, expires_at=expires)
        for image, (url, expires) in zip(job.result.images, addresses, strict=True)
    ]


def _queue(estimate: QueueEstimate | None) -> QueueView | None:
    if estimate is None:
        return None
    return QueueView(
        position=estimate.position,
        eta_start_seconds=estimate.start_seconds,
        eta_finish_seconds=estimate.finish_seconds,
    )


def _links(job: Job, links: Links) -> LinksView:
    address = links.job(job.id)
    return LinksView(self=address, events=f"{address}/events", cancel=None if job.state.final else address)


def _failure(job: Job) -> FailureView | None:
    if job.failure is None:
        return None
    return FailureView(type=f"urn:stylize:job:{job.failure.code}", code=job.failure.code, detail=job.failure.detail)
