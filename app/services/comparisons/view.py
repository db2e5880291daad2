"""What callers see of a comparison."""

from collections.abc import Mapping

from app.schemas.comparison import (
    CellSummaryView,
    CellView,
    ComparisonLinksView,
    ComparisonProgressView,
    ComparisonSummaryView,
    ComparisonView,
)
from app.schemas.job import JobView
from workers.contract.jobs.comparisons import Comparison
from workers.contract.jobs.models import State


def comparison_view(comparison: Comparison, jobs: Mapping[str, JobView], public_url: str) -> ComparisonView:
    """Return what callers see of a comparison, its jobs given by id as far as they are still kept."""
    cells = [CellView(**cell.model_dump(exclude={"job_id"}), job=jobs.get(cell.job_id)) for cell in comparison.cells]
    finished = sum(cell.job is None or cell.job.state.final for cell in cells)
    done = finished == len(cells)
    fraction = sum(_fraction(cell.job) for cell in cells) / len(cells)
    return ComparisonView(
        id=comparison.id,
        state="finished" if done else "running",
        progress=ComparisonProgressView(finished=finished, total=len(cells), fraction=fraction),
        prompt=comparison.prompt,
        cells=cells,
        created_at=comparison.created_at,
        links=_links(comparison, done, public_url),
    )


def comparison_summary(comparison: Comparison, states: Mapping[str, State], public_url: str) -> ComparisonSummaryView:
    """Return what a list shows of a comparison, the states of its jobs given by id as far as they are still kept."""
    cells = [
        CellSummaryView(**cell.model_dump(exclude={"job_id"}), job=cell.job_id if cell.job_id in states else None)
        for cell in comparison.cells
    ]
    finished = sum(cell.job is None or states[cell.job].final for cell in cells)
    done = finished == len(cells)
    return ComparisonSummaryView(
        id=comparison.id,
        state="finished" if done else "running",
        progress=ComparisonProgressView(finished=finished, total=len(cells), fraction=finished / len(cells)),
        prompt=comparison.prompt,
        cells=cells,
        created_at=comparison.created_at,
        links=_links(comparison, done, public_url),
    )


def _links(comparison: Comparison, done: bool, public_url: str) -> ComparisonLinksView:
    address = f"{public_url}/comparisons/{comparison.id}"
    return ComparisonLinksView(
        self=address,
        cancel=None if done else f"{address}?cancel_only=true",
        delete=address if done else None,
        zip=f"{address}/zip",
        sheet=f"{address}/sheet" if done else None,
    )


def _fraction(job: JobView | None) -> float:
    if job is None or job.state.final:
        return 1.0
    return job.progress.fraction if job.progress else 0.0
