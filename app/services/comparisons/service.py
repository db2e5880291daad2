"""Callers' own comparisons: looked at, canceled, deleted."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from app.errors import NotFound
from app.schemas.comparison import ComparisonsView, ComparisonView
from app.services.comparisons.view import comparison_summary, comparison_view
from app.services.delete import JobDeleter
from app.services.jobs import JobService
from app.storage.redis_calls import RedisCalls
from workers.contract.jobs.comparisons import Comparison, ComparisonStore
from workers.contract.jobs.models import Job
from workers.contract.jobs.store import JobStore


@dataclass(frozen=True)
class ComparisonService:
    """Reads, cancels and deletes comparisons. `public_url` begins the addresses that are handed out."""

    store: JobStore
    comparisons: ComparisonStore
    jobs: JobService
    deleter: JobDeleter
    calls: RedisCalls
    public_url: str

    async def get(self, comparison_id: str, owner: str) -> Comparison:
        """Return an owner's comparison. Raises NotFound."""
        comparison = await self.calls.call(self.comparisons.get, comparison_id, owner)
        if comparison is None:
            raise NotFound("there is no such comparison")
        return comparison

    async def get_page(self, owner: str, *, limit: int, cursor: str | None) -> ComparisonsView:
        """Return a page of an owner's comparisons, newest first."""

        def look() -> ComparisonsView:
            groups, following = self.comparisons.page(owner, limit=limit, cursor=cursor)
            states = self.comparisons.states(groups)
            summaries = [comparison_summary(group, states, self.public_url) for group in groups]
            return ComparisonsView(comparisons=summaries, cursor=following)

        return await self.calls.call(look)

    async def get_view(self, comparison: Comparison) -> ComparisonView:
        """Return what callers see of a comparison now."""

        def look() -> ComparisonView:
            jobs = self.store.many(cell.job_id for cell in comparison.cells)
            views = {view.id: view for view in self.jobs.build_views(list(jobs.values()))}
            return comparison_view(comparison, views, self.public_url)

        return await self.calls.call(look)

    async def get_jobs(self, comparison: Comparison) -> Sequence[Job | None]:
        """Return the jobs of a comparison in its order; None for those that are kept no longer."""
        ids = [cell.job_id for cell in comparison.cells]
        jobs = await self.calls.call(self.store.many, ids)
        return [jobs.get(job_id) for job_id in ids]

    async def cancel(self, comparison: Comparison) -> None:
        """Cancel all jobs of a comparison; finished ones stay as they are."""
        for cell in comparison.cells:
            await self.calls.call(self.store.cancel, cell.job_id, comparison.owner)

    async def delete(self, comparison: Comparison) -> None:
        """Delete a comparison with all its jobs, which must be final. Raises as `JobDeleter.delete`."""
        for job in await self.get_jobs(comparison):
            if job is not None:
                with suppress(NotFound):  # another request deletes it, too
                    await self.deleter.delete(job)
        await self.calls.call(self.comparisons.delete, comparison.id, comparison.owner)
