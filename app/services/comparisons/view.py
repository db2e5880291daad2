"""What callers see of a comparison."""

from collections.abc import Mapping

from app.schemas.comparison import CellView, ComparisonLinksView, ComparisonProgressView, ComparisonView
from app.schemas.job import JobView
from workers.contract.jobs.comparisons import Comparison


def comparison_view(comparison: Comparison, jobs: Mapping[str, JobView], public_url: str) -> ComparisonView:
    """Return what callers see of a comparison, its jobs given by id as far as they are still kept."""
    cells = [CellView(**cell.model_dump(exclude={"job_id"}), job=jobs.get(cell.job_id)) for cell in comparison.cells]
    finished = sum(cell.job is None or cell.job.state.final for cell in cells)
    done = finished == len(cells)
    fraction = sum(_fraction(cell.job) for cell in cells) / len(cells)
    address = f"{public_url}/comparisons/{comparison.id}"
    return ComparisonView(
        id=comparison.id,
        state="finished" if done else "running",
        progress=ComparisonProgressView(finished=finished, total=len(cells), fraction=fraction),
        cells=cells,
        created_at=comparison.created_at,
        links=ComparisonLinksView(self=address, sheet=f"{address}/sheet" if done else None),
    )


def _fraction(job: JobView | None) -> float:
    if job is None or job.state.final:
        return 1.0
    return job.progress.fraction if job.progress else 0.0
