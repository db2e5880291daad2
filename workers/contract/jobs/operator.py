"""What an operator may see and stop: the jobs of every owner, those that prepare styles included."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from redis import Redis

from workers.contract.errors import UnreadableRecord
from workers.contract.jobs.models import Job, State
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import redis_errors

BATCH = 200
STOPPABLE = (State.QUEUED, State.RUNNING)


class CanceledCounts(NamedTuple):
    """How many jobs were stopped: at once, and at their workers' next step."""

    queued: int = 0
    running: int = 0


@dataclass(frozen=True)
class Operator:
    """Works on the Redis of the jobs, without a gateway. Synchronous; raises StoreUnavailable."""

    redis: Redis
    prefix: str = "stylize:"

    def jobs(self, owner: str | None = None, state: State | None = None) -> Iterator[Job]:
        """Give the jobs of an owner (None: of all) in a state (None: any), newest first."""
        index, store = f"{self.prefix}{f'list:{owner}' if owner else 'all'}", JobStore(self.redis, prefix=self.prefix)
        last: float | str = "+inf"
        while True:
            with redis_errors():
                found: Any = self.redis.zrevrangebyscore(index, last, "-inf", 0, BATCH, withscores=True)
            if not found:
                return
            last = f"({found[-1][1]:.0f}"
            known = store.many([job_id for job_id, _ in found])
            yield from (job for job_id, _ in found if (job := known.get(job_id)) and state in (None, job.state))

    def cancel(self, job_id: str, owner: str | None = None) -> State | None:
        """Cancel a job, also one whose record this release cannot read; return what it is then.

        None when there is no such job or it is not `owner`'s (None: anyone's).
        """
        try:
            job = JobStore(self.redis, prefix=self.prefix).cancel(job_id, owner)
        except UnreadableRecord:
            with redis_errors():
                return State(str(self.redis.hget(f"{self.prefix}job:{job_id}", "state")))
        return job.state if job else None

    def cancel_unfinished(self, owner: str) -> CanceledCounts:
        """Cancel all that an owner has waiting and running."""
        mine = [job_id for job_id, facts in self._unfinished().items() if facts[0] == owner and facts[1] in STOPPABLE]
        states = [self.cancel(job_id, owner) for job_id in mine]
        return CanceledCounts(states.count(State.CANCELED), states.count(State.CANCELING))

    def _unfinished(self) -> dict[str, tuple[str | None, str | None]]:
        """Return owner and state of all jobs that wait or run."""
        with redis_errors():
            indexes = self.redis.pipeline(transaction=True)
            for index in ("waiting", "leases"):
                indexes.zrange(f"{self.prefix}{index}", 0, -1)
            ids = list(chain(*indexes.execute()))
            facts = self.redis.pipeline(transaction=False)
            for job_id in ids:
                facts.hmget(f"{self.prefix}job:{job_id}", ("owner", "state"))
            return {job_id: (owner, state) for job_id, (owner, state) in zip(ids, facts.execute(), strict=True)}
