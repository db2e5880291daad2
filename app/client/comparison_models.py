"""What the service says of comparisons, named as in its OpenAPI document."""

from datetime import datetime

from .models import Answer, JobView


class CellView(Answer):
    """One job of a comparison; None once it is kept no longer."""

    label: str
    method: str
    seed: int
    strength: float
    job: JobView | None = None


class ComparisonProgressView(Answer):
    """How far all jobs together are."""

    finished: int
    total: int
    fraction: float


class ComparisonLinksView(Answer):
    """Where to go from here; `sheet` is None until all jobs are final."""

    self: str
    cancel: str | None = None
    delete: str | None = None
    zip: str | None = None
    sheet: str | None = None


class ComparisonView(Answer):
    """Jobs that were asked for together: `state` is running or finished."""

    id: str
    state: str
    progress: ComparisonProgressView
    prompt: str = ""
    cells: list[CellView]
    created_at: datetime
    links: ComparisonLinksView


class CellSummaryView(Answer):
    """One job of a comparison in a list: its id, None once it is kept no longer."""

    label: str
    method: str
    seed: int
    strength: float
    job: str | None = None


class ComparisonSummaryView(Answer):
    """A comparison as a list shows it."""

    id: str
    state: str
    progress: ComparisonProgressView
    prompt: str
    cells: list[CellSummaryView]
    created_at: datetime
    links: ComparisonLinksView


class ComparisonsView(Answer):
    """Some comparisons, newest first; `cursor` asks for the next page, and is None on the last."""

    comparisons: list[ComparisonSummaryView]
    cursor: str | None = None
