"""The verbs of the job store by which it is watched: who works, what waits, what changes, what is wrong."""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from redis import Redis

from workers.contract.errors import UnreadableRecord
from workers.contract.jobs.models import from_millis
from workers.contract.jobs.queue_stats import parse_queue_stats
from workers.contract.jobs.record import pairs
from workers.contract.jobs.results import QueueStats, RedisMemory, WorkerStatus
from workers.contract.jobs.stored import read_stored
from workers.contract.runtime.redis import redis_errors

log = logging.getLogger(__name__)

VERSIONS_LIMIT = 500
"""Jobs that one look at versions touches: Redis serves nobody else meanwhile."""


class ReportVerbs(ABC):
    """Part of `JobStore`, which runs the scripts."""

    _redis: Redis
    _prefix: str

    def queue_stats(self) -> QueueStats:
        """Return how many jobs wait and run; the cost does not grow with the number of jobs."""
        lines, running, counts = self._run("queue_stats")
        return parse_queue_stats(lines, pairs(running), pairs(counts))

    def versions(self, ids: Iterable[str]) -> dict[str, str]:
        """Return a text per job that changes whenever its state, its progress or its place in the queue does."""
        asked, texts = list(ids), []
        for at in range(0, len(asked), VERSIONS_LIMIT):
            texts += list(json.loads(self._run("versions", *asked[at : at + VERSIONS_LIMIT])))
        return {job_id: str(text) for job_id, text in zip(asked, texts, strict=True)}

    def newest_change(self) -> str:
        """Return the mark of the last change of any job."""
        with redis_errors():
            entries: Any = self._redis.xrevrange(f"{self._prefix}changes", count=1)
        return str(entries[0][0]) if entries else "0-0"

    def changes(self, after: str, seconds: float) -> tuple[str, set[str]]:
        """Return the mark of the last change and the ids of the jobs that changed since the mark `after`.

        Waits up to some seconds for the first. The last thousand changes are kept; a place in the queue is none, and
        the release before notes none: look at `versions` as well, now and then.
        """
        with redis_errors():
            found: Any = self._redis.xread({f"{self._prefix}changes": after}, block=round(seconds * 1000))
        entries = found[0][1] if found else []
        return (str(entries[-1][0]) if entries else after), {str(fields["job"]) for _, fields in entries}

    def memory(self) -> RedisMemory:
        """Return how full Redis is."""
        with redis_errors():
            facts: dict[str, Any] = self._redis.info("memory")
        return RedisMemory(int(facts["used_memory"]), int(facts.get("maxmemory", 0)))

    def announce(self, status: WorkerStatus, ttl: float) -> None:
        """Make a worker known for `ttl` seconds."""
        text = status.model_copy(update={"seen": None}).model_dump_json()
        self._run("workers", status.id, text, round(ttl * 1000))

    def workers(self) -> tuple[WorkerStatus, ...]:
        """Return the workers known now, by id."""
        found = (entry.split(" ", 1) for entry in self._run("workers", "", "", 0))
        known = []
        for seen, text in found:
            try:
                known.append(read_stored(WorkerStatus, text).model_copy(update={"seen": from_millis(int(seen))}))
            except UnreadableRecord as fault:
                self._note_unreadable("worker", fault)
        return tuple(sorted(known, key=lambda status: status.id))

    def _note_unreadable(self, kind: str, fault: UnreadableRecord) -> None:
        log.warning("left out: %s", fault)
        with redis_errors():
            self._redis.hincrby(f"{self._prefix}counts", f"unreadable {kind}", 1)

    @abstractmethod
    def _run(self, name: str, *args: str | int) -> Any:
        """Run a script and return its answer. Raises StoreUnavailable."""
