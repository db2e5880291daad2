"""What the verbs of the job store answer. Plain data."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import Field

from workers.contract.blobs.names import Sha256
from workers.contract.jobs.models import Job, Priority, to_millis
from workers.contract.jobs.stored import Versioned


@dataclass(frozen=True)
class Claim:
    """The right to run a job: whoever holds the highest token of a running job may commit it."""

    job: Job
    token: int


@dataclass(frozen=True)
class LeaseStatus:
    """What a beat brings back. Once `held` is False the job is another's, or over: drop it."""

    held: bool
    cancel: bool
    expired: bool


class Wake(NamedTuple):
    """A job of which a worker should be notified."""

    queue: str
    job_id: str
    priority: Priority


@dataclass(frozen=True)
class Sweep:
    """What one sweep did: jobs to wake, jobs failed (poison or deadline), leases that ended, ids of deleted records."""

    wake: tuple[Wake, ...]
    failed: int
    expired: int
    collected: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """Some jobs, newest first, and the cursor of the next page; None when there is none.

    `unreadable` are the ids of those whose records this release cannot read.
    """

    jobs: tuple[Job, ...]
    cursor: str | None
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobFilter:
    """Which jobs are wanted; what is not given lets all through.

    `pictures` are inputs of which a job has to name one; `text` is in its prompt.
    """

    method: str = ""
    model: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None
    pictures: frozenset[Sha256] = frozenset()
    text: str = ""

    def arguments(self) -> tuple[str, ...]:
        """Return the arguments of `page.lua` but those of the text."""
        times = (str(to_millis(at)) if at else "" for at in (self.created_after, self.created_before))
        return (self.method, self.model, *times, " ".join(sorted(self.pictures)))


ALL_JOBS = JobFilter()


@dataclass(frozen=True)
class QueueEstimate:
    """What is to be expected of a job: how many go before it (None once it runs), seconds to its start and its end.

    Seconds are None while nothing like it was ever done, or no worker is there.
    """

    position: int | None
    start_seconds: float | None
    finish_seconds: float | None


@dataclass(frozen=True)
class Submission:
    """The accepted job; `created` is False when an earlier submission with the same idempotency key made it.

    `estimate` is there when this very call made it.
    """

    job: Job
    created: bool
    estimate: QueueEstimate | None = None


@dataclass(frozen=True)
class Queued:
    """One line of one queue: how many jobs wait, and since how many seconds the oldest."""

    queue: str
    priority: Priority
    count: int
    oldest_age_seconds: float


@dataclass(frozen=True)
class QueueStats:
    """How many jobs wait, per queue and priority (every queue ever used), and run, per method.

    Since the store began: how many finished, by method, state and reason (a failure's code, else "none"); how many
    lost their worker; how many were given to a worker again. `eta_errors` counts by bucket (upper bound in seconds) how
    far the first promise of the end was off, `eta_error_seconds` is their sum. `unreadable` counts by kind the records
    that were missing or could not be read.
    """

    queued: tuple[Queued, ...]
    running: dict[str, int]
    finished: dict[tuple[str, str, str], int] = field(default_factory=dict)
    lost: int = 0
    redelivered: int = 0
    eta_errors: dict[str, int] = field(default_factory=dict)
    eta_error_seconds: float = 0.0
    unreadable: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RedisMemory:
    """The memory of Redis in bytes; `limit` is 0 when it has none but the machine's."""

    used: int
    limit: int


class WorkerStatus(Versioned):
    """What a worker says about itself: the queues it serves, the models it has warm, the job in hand.

    `methods` tells, by warm model and technique, why the technique cannot run there; empty when it can. `seen` is set
    by the store: when the worker last spoke, by the Redis clock.
    """

    id: str
    queues: tuple[str, ...]
    models: tuple[str, ...] = ()
    methods: dict[str, dict[str, str]] = Field(default_factory=dict)
    state: Literal["starting", "idle", "busy", "stopping"] = "starting"
    job_id: str | None = None
    seen: datetime | None = None
