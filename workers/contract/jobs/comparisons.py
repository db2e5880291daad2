"""Groups: jobs that were asked for together, to be compared. `JobStore.submit_comparison` keeps one with its jobs."""

from datetime import datetime
from typing import Any

from redis import Redis

from workers.contract.blobs.names import Sha256
from workers.contract.jobs.models import Frozen
from workers.contract.jobs.stored import Versioned, read_known
from workers.contract.runtime.redis import redis_errors


class Cell(Frozen):
    """One job of a group, and what it is called beside the others."""

    job_id: str
    label: str
    method: str
    seed: int
    strength: float


class Comparison(Versioned):
    """Jobs asked for together. `digest` is the sha256 of what was asked."""

    id: str
    owner: str
    digest: Sha256
    cells: tuple[Cell, ...]
    created_at: datetime


class ComparisonStore:
    """Synchronous and thread-safe; raises StoreUnavailable when Redis does not answer. Any number may share one."""

    def __init__(self, redis: Redis, *, keep_seconds: float, prefix: str = "stylize:") -> None:
        self._redis = redis
        self._keep = round(keep_seconds * 1000)
        self._prefix = prefix

    def get(self, group_id: str, owner: str) -> Comparison | None:
        """Return an owner's group, or None when there is none; it is kept as long again.

        Raises UnreadableRecord.
        """
        with redis_errors():
            text: Any = self._redis.getex(self._name(group_id), px=self._keep)
        group = read_known(Comparison, text) if text else None
        return group if group and group.owner == owner else None

    def _name(self, group_id: str) -> str:
        return f"{self._prefix}group:{group_id}"
