"""What callers see of a comparison."""

from app.dependencies import Services
from app.schemas.job import JobView
from app.schemas.style import CellView, ComparisonLinksView, ComparisonProgressView, ComparisonView
from app.services.jobs import all_seen
from workers.contract.jobs.comparisons import Comparison


def comparison_view(services: Services, group: Comparison) -> ComparisonView:
    """Return what callers see of a group. Talks to the store: call it in a thread."""
    jobs = services.store.many(cell.job_id for cell in group.cells)
    shown = {job.id: job for job in all_seen(services, list(jobs.values()))}
    cells = [CellView(**cell.model_dump(exclude={"job_id"}), job=shown.get(cell.job_id)) for cell in group.cells]
    fractions = [_fraction(cell.job) for cell in cells]
    finished = sum(cell.job is None or cell.job.state.final for cell in cells)
    done = finished == len(cells)
    address = f"{services.links.public_url}/comparisons/{group.id}"
    return ComparisonView(
        id=group.id,
        state="finished" if done else "running",
        progress=ComparisonProgressView(finished=finished, total=len(cells), fraction=sum(fractions) / len(cells)),
        cells=cells,
        created_at=group.created_at,
        links=ComparisonLinksView(self=address, sheet=f"{address}/sheet" if done else None),
    )


def _fraction(job: JobView | None) -> float:
    if job is None or job.state.final:
        return 1.0
    return job.progress.fraction if job.progress else 0.0
