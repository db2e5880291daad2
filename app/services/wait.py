"""Waiting until a job is final."""

import time
from dataclasses import dataclass

from app.auth.keyring import KeyRing
from app.errors import TooManyStreams
from app.services.access import Access
from app.services.job_watch import JobWatch
from app.storage.redis_calls import RedisCalls
from workers.contract.jobs.models import Job
from workers.contract.jobs.store import JobStore


@dataclass(frozen=True)
class JobWaiter:
    """Waits for jobs, for those who asked for them; `longest` is what the host allows, in seconds."""

    store: JobStore
    watch: JobWatch
    keyring: KeyRing
    calls: RedisCalls
    longest: int

    async def wait_until_final(self, job: Job, seconds: float) -> Job:
        """Return the job once it is final, or as it is when the time is up, too many wait or the gateway stops.

        Raises Unauthorized or Forbidden when the key by which it was asked for ends meanwhile.
        """
        until, access = time.monotonic() + seconds, Access(self.keyring, self.calls, job.owner, "write")
        try:
            with self.watch.watching(job.id, job.owner) as observer:
                while True:
                    current = await self.calls.call(self.store.get, job.id)
                    job = current or job
                    if job.state.final or observer.closed or time.monotonic() >= until:
                        return job
                    await access.await_news(observer, until - time.monotonic())
        except TooManyStreams:
            return job
