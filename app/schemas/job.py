"""What callers see of jobs, as pydantic models: the OpenAPI document derives from them."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from workers.contract.jobs.models import JobKind, Payload, Priority, Progress, State, Timings


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


class ControlMapView(BaseModel):
    """The map that a job made of its control or content picture; posted as `control_image` it gives the same."""

    url: str
    width: int
    height: int
    content_type: str
    sha256: str
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
    """Where to go from here: DELETE `cancel` to cancel, DELETE `delete` to delete."""

    self: str
    events: str
    cancel: str | None = Field(None, description="while the job is not final; leaves one that has just ended")
    delete: str | None = Field(None, description="once the job is final")
    zip: str | None = Field(None, description="all pictures in one file, once there are any")


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
    expires_at: datetime | None = Field(
        description="when the job, its pictures and what only it was made from are deleted; null until it is final"
    )
    progress: Progress | None
    preview: str | None = Field(
        None,
        description="where a small JPEG of what the job is becoming is; another address after each new one, "
        "null before the first and once the job is final",
    )
    queue: QueueView | None = Field(description="present while the job waits or runs")
    images: list[ImageView]
    control_map: ControlMapView | None = Field(None, description="the map that the job made; null when it made none")
    error: FailureView | None
    warnings: list[str] = Field(
        [],
        description="what of the request did not count, in sentences: the end of a prompt that is longer than what the "
        "model's text encoders read; and that the host keeps the model's weights in fewer bits",
    )
    timings: Timings | None = Field(description="seconds per stage; present when finished")
    gpu_seconds: float | None
    cache: CacheView
    attempts: int
    comparison: str | None = Field(None, description="id of the comparison that the job is a part of")
    recipe: Payload = Field(description="the completed request; posted again it gives the same pictures")
    links: LinksView


class PartialJobsView(BaseModel):
    """Some jobs, newest first, of each only the fields that were asked for."""

    jobs: list[dict[str, JsonValue]]
    cursor: str | None
    unreadable: list[str]


class JobsView(BaseModel):
    """Some jobs, newest first."""

    jobs: list[JobView]
    cursor: str | None = Field(description="pass it as `cursor` for the next page; null on the last")
    unreadable: list[str] = Field([], description="ids of jobs of another release, which this one cannot show")
