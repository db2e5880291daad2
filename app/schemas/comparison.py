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


class ComparisonProgressView(BaseModel):
    """How far all jobs together are."""

    finished: int
    total: int
    fraction: float = Field(ge=0, le=1)


class ComparisonLinksView(BaseModel):
    """Where to go from here; DELETE `self` to cancel."""

    self: str
    sheet: str | None = Field(description="the labelled contact sheet; null until all jobs are final")


class ComparisonView(BaseModel):
    """Jobs that were asked for together."""

    id: str
    state: Literal["running", "finished"]
    progress: ComparisonProgressView
    cells: list[CellView]
    created_at: datetime
    links: ComparisonLinksView
