"""A job's life as server-sent events: each is a full snapshot, so that one event puts right whoever missed some."""

import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi.sse import ServerSentEvent

from app.dependencies import Services
from app.errors import Forbidden, NotFound, Unauthorized
from app.schemas.job import JobView
from app.services.access import CHECK_SECONDS, Access, last_tick
from app.services.job_watch import JobObserver
from app.services.jobs import get_owned_job, seen
from workers.contract.errors import StoreUnavailable

EVENT = "job"
HEARTBEAT = "alive"
RETRY_MILLISECONDS = 1000


@dataclass(frozen=True)
class EventStream:
    """One caller who follows one job, from the snapshot after `last_id`."""

    services: Services
    job_id: str
    owner: str
    observer: JobObserver
    last_id: str | None

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """Yield a snapshot at each change, the last when the job is final; a heartbeat when it is quiet.

        Ends as soon as the caller's key is revoked, expires, loses its scope or can no longer be read.
        """
        try:
            async for event in self._events():
                yield event
        except (Unauthorized, Forbidden, StoreUnavailable):
            return  # the answer has begun: who comes back is told why

    async def _events(self) -> AsyncIterator[ServerSentEvent]:
        access = Access(self.services, self.owner, "read")
        heartbeat = self.services.settings.gateway_heartbeat_seconds
        tick = min(CHECK_SECONDS, heartbeat)
        last_id, sent_at = self.last_id, last_tick(time.monotonic(), tick)
        while (job := await self._look()) is not None:
            if (identity := identity_of(job)) != last_id:
                last_id, sent_at = identity, last_tick(time.monotonic(), tick)
                yield snapshot(job, identity)
            if job.state.final or self.observer.closed:
                return
            while not await access.await_news(self.observer, heartbeat - (time.monotonic() - sent_at)):
                sent_at = last_tick(time.monotonic(), tick)
                yield ServerSentEvent(comment=HEARTBEAT)

    async def _look(self) -> JobView | None:
        """Return the job, None when its record has been deleted meanwhile."""
        try:
            return await self.services.call(
                lambda: seen(self.services, get_owned_job(self.services, self.job_id, self.owner))
            )
        except NotFound:
            return None


def snapshot(job: JobView, identity: str) -> ServerSentEvent:
    """Return the event that tells all about a job."""
    return ServerSentEvent(event=EVENT, id=identity, raw_data=job.model_dump_json(), retry=RETRY_MILLISECONDS)


def identity_of(job: JobView) -> str:
    """Return the id of a snapshot: the same at every gateway, another whenever something but the estimates changed."""
    position = job.queue.position if job.queue else None
    preview = (job.preview or "").partition("&")[0]  # a signature behind it would be another at each look
    facts = f"{job.state} {job.attempts} {job.progress} {position} {preview}"
    return hashlib.blake2b(facts.encode(), digest_size=9).hexdigest()
