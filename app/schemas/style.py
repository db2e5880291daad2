"""What callers see of saved styles."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from workers.contract.styles.store import StyleReference


class PrecomputeView(BaseModel):
    """How far a style is prepared for a method on a model, with the method's defaults there."""

    method: str
    model: str
    state: Literal["cold", "preparing", "ready"] = Field(
        description="cold: the first job prepares it; preparing: a worker does, or will; ready: a worker has it"
    )
    workers: int = Field(description="how many workers have it; another prepares it with its own first job")
    job: str | None = Field(description="id of the job that prepares or last prepared it, as long as it is kept")


class StyleLinksView(BaseModel):
    """Where to go from here; DELETE `self` to delete, POST `precompute` to prepare."""

    self: str
    precompute: str


class StyleView(BaseModel):
    """A saved style."""

    id: str
    name: str
    references: tuple[StyleReference, ...]
    versions: dict[str, int] = Field(description="the version of each technique whose look the style keeps")
    prepared: list[PrecomputeView] = Field(description="each method and model that it can be prepared for")
    created_at: datetime
    links: StyleLinksView


class StylesView(BaseModel):
    """Some styles, newest first."""

    styles: list[StyleView]
    cursor: str | None = Field(description="pass it as `cursor` for the next page; null on the last")
