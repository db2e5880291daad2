"""What callers see of saved styles and of comparisons."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from app.schemas import JobView
from workers.contract.styles import Reference


class StyleLinksView(BaseModel):
    """Where to go from here; DELETE `self` to delete."""

    self: str


class StyleView(BaseModel):
    """A saved style."""

    id: str
    name: str
    references: tuple[Reference, ...]
    versions: dict[str, int] = Field(description="the version of each technique whose look the style keeps")
    created_at: datetime
    links: StyleLinksView


class StylesView(BaseModel):
    """Some styles, newest first."""

    styles: list[StyleView]
    cursor: str | None = Field(description="pass it as `cursor` for the next page; null on the last")


class CellView(BaseModel):
    """One job of a comparison; null once it is kept no longer."""

    label: str
    method: str
    seed: int
    strength: float
    job: JobView | None


class ShareView(BaseModel):
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
    progress: ShareView
    cells: list[CellView]
    created_at: datetime
    links: ComparisonLinksView
