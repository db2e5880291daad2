"""A job's life as events: each is a full snapshot, so that one event puts right whoever missed some."""

import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.auth.keyring import KeyRing
from app.errors import Forbidden, NotFound, NothingNew, Unauthorized
from app.schemas.job import JobView
from app.services.access import CHECK_SECONDS, Access, last_tick
from app.services.job_watch import JobObserver, JobWatch
from app.services.jobs import JobService
from app.storage.redis_calls import RedisCalls
from workers.contract.errors import StoreUnavailable


@dataclass(frozen=True)
class JobEvent:
    """What a job is at one moment; `id` is another whenever something changed."""

    id: str
    job: JobView


@dataclass(frozen=True)
class EventStream:
    """One caller who follows one job, from the snapshot after `last_id`."""

    jobs: JobService
    access: Access
    observer: JobObserver
    heartbeat: float
    job_id: str
    last_id: str | None

    async def events(self) -> AsyncIterator[JobEvent | None]:
        """Yield a snapshot at each change, the last when the job is final; None, a sign of life, when it is quiet.

        Ends as soon as the caller's key is revoked, expires, loses its scope or can no longer be read.
        """
        try:
            async for event in self._events():
                yield event
        except (Unauthorized, Forbidden, StoreUnavailable):
            return  # the answer has begun: who comes back is told why

    async def _events(self) -> AsyncIterator[JobEvent | None]:
        tick = min(CHECK_SECONDS, self.heartbeat)
        last_id, sent_at = self.last_id, last_tick(time.monotonic(), tick)
        while (job := await self._look()) is not None:
            if (identity := identity_of(job)) != last_id:
                last_id, sent_at = identity, last_tick(time.monotonic(), tick)
                yield JobEvent(identity, job)
            if job.state.final or self.observer.closed:
                return
            while not await self.access.await_news(self.observer, self.heartbeat - (time.monotonic() - sent_at)):
                sent_at = last_tick(time.monotonic(), tick)
                yield None

    async def _look(self) -> JobView | None:
        """Return the job, None when its record has been deleted meanwhile."""
        try:
            return await self.jobs.get_view(self.job_id, self.access.owner)
        except NotFound:
            return None


@dataclass(frozen=True)
class JobEvents:
    """Opens streams of events; a quiet one gives a sign of life every `heartbeat` seconds."""

    jobs: JobService
    watch: JobWatch
    keyring: KeyRing
    calls: RedisCalls
    heartbeat: float

    @asynccontextmanager
    async def open(self, job_id: str, owner: str, last_id: str | None) -> AsyncIterator[EventStream]:
        """Give the stream of an owner's job. Raises NotFound, TooManyStreams, or NothingNew when all has been told."""
        job = await self.jobs.get_view(job_id, owner)
        if job.state.final and identity_of(job) == last_id:
            raise NothingNew
        with self.watch.watching(job_id, owner) as observer:
            access = Access(self.keyring, self.calls, owner, "read")
            yield EventStream(self.jobs, access, observer, self.heartbeat, job_id, last_id)


def identity_of(job: JobView) -> str:
    """Return the id of a snapshot: the same at every gateway, another whenever something but the estimates changed."""
    position = job.queue.position if job.queue else None
    preview = (job.preview or "").partition("&")[0]  # a signature behind it would be another at each look
    facts = f"{job.state} {job.attempts} {job.progress} {position} {preview}"
    return hashlib.blake2b(facts.encode(), digest_size=9).hexdigest()
