"""Deleting a final job: its pictures and previews, its record, and the references that nothing else names."""

import logging
from dataclasses import dataclass

from app.errors import NotFound
from app.storage.blob_calls import BlobCalls
from app.storage.redis_calls import RedisCalls
from workers.contract.blobs import BlobStore, job_prefix
from workers.contract.errors import BlobError, StoreUnavailable
from workers.contract.jobs.inputs import delete_unused
from workers.contract.jobs.models import Job
from workers.contract.jobs.store import JobStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobDeleter:
    """Deletes jobs; what is cut short may be done again."""

    store: JobStore
    blobs: BlobStore
    calls: RedisCalls
    blob_calls: BlobCalls

    async def delete(self, job: Job) -> None:
        """Delete a final job. The pictures go first: a failure leaves the job there, to be deleted again.

        Raises NotFound, StoreUnavailable, BlobError, Unavailable.
        """
        await self.blob_calls.call(self._delete_pictures, job)
        if not await self.calls.call(self.store.delete, job.id, job.owner):
            raise NotFound("there is no such job")
        await self.blob_calls.call(self._delete_inputs, job)

    def _delete_pictures(self, job: Job) -> None:
        self.blobs.delete([stored.name for stored in self.blobs.list(job_prefix(job.id))])

    def _delete_inputs(self, job: Job) -> None:
        try:
            delete_unused(self.store.inputs, self.blobs, job.request.inputs)
        except (StoreUnavailable, BlobError) as fault:
            log.warning("pictures of a deleted job stay until they are swept: %s", fault)
