"""The job store: the record in Redis is the truth, and every verb is one atomic Lua script.

A job is executed at least once and published at most once: each claim carries a higher token, and only the holder of
the current token of a running job can commit. Leases run by the clock of Redis; a worker that falls silent loses its
job to the next one. All verbs raise StoreUnavailable when Redis does not answer or refuses to write.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Self

from redis import Redis

from workers.contract.errors import UnreadableRecord
from workers.contract.jobs import scripts
from workers.contract.jobs.estimate import Snapshot, estimates
from workers.contract.jobs.inputs import InputStore
from workers.contract.jobs.models import Failure, Job, Progress, Result, from_millis
from workers.contract.jobs.record import job_of, pairs
from workers.contract.jobs.report import ReportVerbs
from workers.contract.jobs.results import Claim, LeaseStatus, QueueEstimate, Sweep, Wake
from workers.contract.jobs.stored import RECORD_VERSION
from workers.contract.jobs.submission import SubmissionVerbs
from workers.contract.runtime.redis import connect, redis_errors, verify_server
from workers.contract.runtime.redis_version import RedisVersion, read_version
from workers.contract.runtime.settings import Settings

SWEEP_LIMIT = 200
"""Jobs of each kind that one sweep touches: Redis serves nobody else meanwhile."""
MAX_DEFERRALS = 60
"""How often a job is put off, its attempt not counted, before it fails; a worker waits a minute before it does so."""
CLAIMS = 10
"""Records that one claim looks at when they cannot be read."""


class JobStore(SubmissionVerbs, ReportVerbs):
    """The verbs of the job protocol. Synchronous and thread-safe; `redis` must decode its answers to text."""

    def __init__(
        self,
        redis: Redis,
        *,
        lease_seconds: float = 30.0,
        max_attempts: int = 3,
        max_deferrals: int = MAX_DEFERRALS,
        max_queued: int = 1000,
        retention_seconds: float = 86400.0,
        prefix: str = "stylize:",
        clock: Callable[[], int] | None = None,
        allow_volatile: bool = False,
    ) -> None:
        """Connect the verbs to `redis`. `clock` (milliseconds) replaces the clock of Redis in the model test only."""
        self._redis = redis
        self._lease = round(lease_seconds * 1000)
        self._max_attempts = max_attempts
        self._max_deferrals = max_deferrals
        self._max_queued = max_queued
        self._keep = round(retention_seconds * 1000)
        self._prefix = prefix
        self._clock = clock
        self._allow_volatile = allow_volatile
        self.inputs = InputStore(redis, prefix=prefix, clock=clock)
        self._scripts = {name: redis.register_script(scripts.source(name)) for name in scripts.NAMES}

    @classmethod
    def from_settings(cls, settings: Settings, redis: Redis | None = None) -> Self:
        """Return a store on the process's client for the Redis of the settings, or on one of its own.

        Raises Misconfigured for a bad URL.
        """
        return cls(
            redis or connect(settings.redis_url),
            lease_seconds=settings.lease_seconds,
            max_attempts=settings.max_attempts,
            max_queued=settings.max_queued,
            retention_seconds=settings.retention_hours * 3600,
            allow_volatile=settings.redis_allow_volatile,
        )

    def verify(self) -> None:
        """Check that Redis answers and keeps what it is told. Raises Misconfigured, StoreUnavailable."""
        with redis_errors():
            self._redis.ping()
        if not self._allow_volatile:
            verify_server(self._redis)

    def server(self) -> RedisVersion:
        """Return the name and version of the server."""
        return read_version(self._redis)

    def claim(self, queue: str, worker: str, batch_key: str = "") -> Claim | None:
        """Return the next job of the queue for this worker, or None when none waits.

        With a `batch_key` (see `record.batch_key`) the next job is given only if it has that key and was never tried.
        A record that cannot be read fails its job; one of a version that this release does not know stays in the queue.
        Interactive goes before batch, owners take turns, each owner's jobs go as they came. Jobs whose lease ended
        are in the queue again, those at their last attempt failed as `poison`, those past their deadline as `deadline`.
        """
        for _ in range(CLAIMS):
            flat = self._run("claim", queue, worker, self._lease, self._max_attempts, batch_key, RECORD_VERSION)
            if flat is None:
                return None
            record = pairs(flat)
            try:
                job = job_of(record)
            except UnreadableRecord as fault:
                self._note_unreadable("job", fault)
                broken = Failure(code=fault.code, detail="the record of the job is damaged")
                self._finish_id("fail", record["id"], int(record["token"]), broken.model_dump_json())
            else:
                return Claim(job, job.token)
        return None

    def beat(self, claim: Claim, progress: Progress | None = None) -> LeaseStatus:
        """Renew the lease and note the progress; return whether the job is still held, canceled, past its deadline."""
        written = progress.model_dump_json() if progress else ""
        held, cancel, expired = self._run("beat", claim.job.id, claim.token, self._lease, written)
        return LeaseStatus(held=bool(held), cancel=bool(cancel), expired=bool(expired))

    def commit(self, claim: Claim, result: Result) -> bool:
        """Publish a result. False when the job is held no more, or was being canceled and is canceled now.

        A commit repeated with the same claim is True again and changes nothing.
        """
        return self._finish("commit", claim, result.model_dump_json())

    def fail(self, claim: Claim, failure: Failure, *, retry: bool) -> bool:
        """Fail the job, or with `retry` put it back while it has attempts left. False as for `commit`."""
        return self._finish("retry" if retry else "fail", claim, failure.model_dump_json())

    def postpone(self, claim: Claim, failure: Failure, *, counted: bool) -> bool:
        """Put the job behind its owner's others. False as for `commit`.

        It fails when it has no attempt left; or, if the attempt is not `counted`, once it was put off too often.
        """
        return self._finish("postpone" if counted else "defer", claim, failure.model_dump_json())

    def release(self, claim: Claim) -> bool:
        """Give the job back at once; the attempt is not counted. False as for `commit`."""
        return self._finish("release", claim)

    def canceled(self, claim: Claim) -> bool:
        """Confirm that a job being canceled has stopped. False when it is held no more, or nobody canceled it."""
        return self._finish("canceled", claim)

    def cancel(self, job_id: str, owner: str | None = None) -> Job | None:
        """Cancel a job: at once if queued, at its worker's next beat if running; nothing happens to a finished one.

        Returns the job, or None when there is no such job or it is not `owner`'s (None: anyone's).
        """
        flat = self._run("cancel", job_id, owner or "")
        return job_of(pairs(flat)) if flat else None

    def delete(self, job_id: str, owner: str) -> bool:
        """Delete the record of an owner's final job; False when there is none. Its blobs are the caller's to delete."""
        return bool(self._run("delete", job_id, owner))

    def sweep(self) -> Sweep:
        """Put right what dead workers and lost wake-ups left behind, at most SWEEP_LIMIT jobs of each kind.

        A job is woken again when its lease ended and each time it has waited a lease's time. Records of jobs finished
        longer ago than the retention are deleted; their blobs are the caller's to delete.
        """
        ended, failed, wake, collected = self._run("sweep", SWEEP_LIMIT, self._max_attempts, self._lease, self._keep)
        wakes = tuple(Wake(*wake[at : at + 3]) for at in range(0, len(wake), 3))
        return Sweep(wakes, failed=int(failed), expired=int(ended), collected=tuple(collected))

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None when there is none. Raises UnreadableRecord."""
        (record,) = self._records([job_id])
        return job_of(record) if record else None

    def many(self, ids: Iterable[str]) -> dict[str, Job]:
        """Return those of some jobs that there are and that can be read, by id, in one round trip."""
        return {job.id: job for job in self._jobs(list(ids))[0]}

    def now(self) -> datetime:
        """Return the time by the clock that all jobs go by."""
        if self._clock:
            return from_millis(self._clock())
        with redis_errors():
            seconds, micros = self._redis.time()
        return from_millis(round(seconds * 1000 + micros / 1000))

    def position(self, job: Job) -> int | None:
        """Return how many jobs of its queue go before this one if nothing else arrives; None when not queued."""
        estimate = self.estimate(job)
        return estimate.position if estimate else None

    def estimate(self, job: Job) -> QueueEstimate | None:
        """Return what is to be expected of a job if nothing else arrives; None when it is final or being canceled."""
        return self.estimates([job.id]).get(job.id)

    def estimates(self, ids: Iterable[str]) -> dict[str, QueueEstimate]:
        """Return what is to be expected of those of some jobs that wait or run, in one round trip.

        Positions are exact. The cost grows neither with the number of owners nor, but for its root, of queued jobs.
        """
        asked = list(ids)
        if not asked:
            return {}
        snapshot = Snapshot.model_validate_json(self._run("queue_estimate", *asked))
        return {job_id: found for job_id, found in zip(asked, estimates(snapshot), strict=True) if found}

    def unused(self, inputs: Iterable[str], owner: str | None = None) -> set[str]:
        """Return those of the given input pictures (sha256) that no job or style, of `owner` if given, names."""
        asked = list(inputs)
        if not asked:
            return set()
        with redis_errors():
            counts = self._redis.hmget(f"{self._prefix}inputs" + (f":{owner}" if owner else ""), asked)
        return {sha256 for sha256, count in zip(asked, counts, strict=True) if count is None}

    def _finish(self, verb: str, claim: Claim, value: str = "") -> bool:
        return self._finish_id(verb, claim.job.id, claim.token, value)

    def _finish_id(self, verb: str, job_id: str, token: int, value: str) -> bool:
        return bool(self._run("finish", verb, job_id, token, value, self._max_attempts, self._max_deferrals))

    def _run(self, name: str, *args: str | int) -> Any:
        now = self._clock() if self._clock else ""
        with redis_errors():
            return self._scripts[name](keys=[self._prefix], args=[now, *args])
