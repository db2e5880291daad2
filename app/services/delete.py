"""Deleting a final job: its pictures and previews, its record, and the references that nothing else names."""

import logging
from dataclasses import dataclass

from app.errors import NotFound
from app.storage.blob_calls import BlobCalls
from app.storage.redis_calls import RedisCalls
from workers.contract.blobs import BlobStore, job_prefix
from workers.contract.blobs.names import is_sheet
from workers.contract.errors import BlobError, StoreUnavailable
from workers.contract.jobs.comparisons import ComparisonStore
from workers.contract.jobs.inputs import delete_unused
from workers.contract.jobs.models import Job
from workers.contract.jobs.store import JobStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobDeleter:
    """Deletes jobs; what is cut short may be done again."""

    store: JobStore
    comparisons: ComparisonStore
    blobs: BlobStore
    calls: RedisCalls
    blob_calls: BlobCalls

    async def delete(self, job: Job) -> None:
        """Delete a final job. The pictures go first: a failure leaves the job there, to be deleted again.

        Raises NotFound, StoreUnavailable, BlobError, Unavailable.
        """
        sheet_holder = await self.calls.call(self._find_sheet_holder, job)
        await self.blob_calls.call(self._delete_pictures, job, sheet_holder)
        if not await self.calls.call(self.store.delete, job.id, job.owner):
            raise NotFound("there is no such job")
        await self.blob_calls.call(self._delete_inputs, job)

    def _find_sheet_holder(self, job: Job) -> str | None:
        """Return the id of the job with which the contact sheets lie that show this one."""
        group = self.comparisons.get(job.comparison, job.owner) if job.comparison else None
        ids = [cell.job_id for cell in group.cells] if group else []
        kept = self.store.many(ids)
        return next((job_id for job_id in ids if job_id in kept), None)

    def _delete_pictures(self, job: Job, sheet_holder: str | None) -> None:
        names = [stored.name for stored in self.blobs.list(job_prefix(job.id))]
        if sheet_holder:
            names += [stored.name for stored in self.blobs.list(job_prefix(sheet_holder)) if is_sheet(stored.name)]
        self.blobs.delete(names)

    def _delete_inputs(self, job: Job) -> None:
        try:
            delete_unused(self.store.inputs, self.blobs, job.request.inputs)
        except (StoreUnavailable, BlobError) as fault:
            log.warning("pictures of a deleted job stay until they are swept: %s", fault)
