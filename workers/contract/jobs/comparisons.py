"""Groups: jobs that were asked for together, to be compared. `JobStore.submit_comparison` keeps one with its jobs."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from redis import Redis

from workers.contract.blobs.names import Sha256
from workers.contract.jobs.models import Frozen, State
from workers.contract.jobs.stored import Versioned, read_known, readable
from workers.contract.runtime.redis import redis_errors


class Cell(Frozen):
    """One job of a group, and what it is called beside the others."""

    job_id: str
    label: str
    method: str
    seed: int
    strength: float


class Comparison(Versioned):
    """Jobs asked for together. `digest` is the sha256 of what was asked; `prompt` what all draw."""

    id: str
    owner: str
    digest: Sha256
    prompt: str = ""
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

    def page(self, owner: str, *, limit: int, cursor: str | None) -> tuple[list[Comparison], str | None]:
        """Return up to `limit` groups of an owner, newest first, and the cursor of the next page.

        Those that are kept no longer, or that this release cannot read, are left out.
        """
        index, top = f"{self._prefix}groups:{owner}", f"({cursor}" if cursor else "+inf"
        with redis_errors():
            entries: Any = self._redis.zrevrangebyscore(index, top, "-inf", 0, limit + 1, withscores=True)
            following = f"{entries[limit - 1][1]:.0f}" if len(entries) > limit else None
            ids = [group_id for group_id, _ in entries[:limit]]
            texts: Any = self._redis.mget([self._name(group_id) for group_id in ids]) if ids else []
            if gone := [group_id for group_id, text in zip(ids, texts, strict=True) if not text]:
                self._redis.zrem(index, *gone)
        return readable(Comparison, filter(None, texts), known=True), following

    def delete(self, group_id: str, owner: str) -> None:
        """Delete an owner's group; its jobs are the caller's to delete."""
        with redis_errors():
            self._redis.delete(self._name(group_id))
            self._redis.zrem(f"{self._prefix}groups:{owner}", group_id)

    def states(self, groups: Iterable[Comparison]) -> dict[str, State]:
        """Return the states of the jobs of some groups by id, as far as they are kept, in one round trip."""
        ids = [cell.job_id for group in groups for cell in group.cells]
        with redis_errors():
            batch = self._redis.pipeline(transaction=False)
            for job_id in ids:
                batch.hget(f"{self._prefix}job:{job_id}", "state")
            found: list[str | None] = batch.execute() if ids else []
        return {job_id: State(state) for job_id, state in zip(ids, found, strict=True) if state}

    def _name(self, group_id: str) -> str:
        return f"{self._prefix}group:{group_id}"
