"""What callers see of comparisons."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from app.schemas.job import JobView


class CellView(BaseModel):
    """One job of a comparison; null once it is kept no longer."""

    label: str
    method: str
    seed: int
    strength: float
    job: JobView | None


class CellSummaryView(BaseModel):
    """One job of a comparison in a list: its id, null once it is kept no longer."""

    label: str
    method: str
    seed: int
    strength: float
    job: str | None


class ComparisonProgressView(BaseModel):
    """How far all jobs together are."""

    finished: int
    total: int
    fraction: float = Field(ge=0, le=1)


class ComparisonLinksView(BaseModel):
    """Where to go from here: DELETE `cancel` to cancel, DELETE `delete` to delete."""

    self: str
    cancel: str | None = Field(None, description="until all jobs are final; leaves those that are")
    delete: str | None = Field(None, description="once all jobs are final")
    zip: str = Field(description="all pictures that there are by now in one file; 404 or 409 while there are none")
    sheet: str | None = Field(description="the labelled contact sheet; null until all jobs are final")


class ComparisonView(BaseModel):
    """Jobs that were asked for together."""

    id: str
    state: Literal["running", "finished"]
    progress: ComparisonProgressView
    prompt: str = Field(description="what all its jobs draw; empty for one made by release 0.1.0")
    cells: list[CellView]
    created_at: datetime
    links: ComparisonLinksView


class ComparisonSummaryView(BaseModel):
    """A comparison as a list shows it; `fraction` counts jobs that are final."""

    id: str
    state: Literal["running", "finished"]
    progress: ComparisonProgressView
    prompt: str
    cells: list[CellSummaryView]
    created_at: datetime
    links: ComparisonLinksView


class ComparisonsView(BaseModel):
    """Some comparisons, newest first."""

    comparisons: list[ComparisonSummaryView]
    cursor: str | None = Field(description="pass it as `cursor` for the next page; null on the last")
