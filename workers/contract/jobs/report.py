"""The verbs of the job store by which it is watched: who works, what waits, what changes, what is wrong."""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from redis import Redis

from workers.contract.errors import UnreadableRecord
from workers.contract.jobs.models import Job, State, from_millis
from workers.contract.jobs.queue_stats import parse_queue_stats
from workers.contract.jobs.record import job_of, pairs
from workers.contract.jobs.results import ALL_JOBS, JobFilter, Page, QueueStats, RedisMemory, WorkerStatus
from workers.contract.jobs.stored import read_stored
from workers.contract.runtime.redis import redis_errors

log = logging.getLogger(__name__)

PAGE_REACH = 1000
"""Records that one page looks at for what is wanted; see `ReportVerbs.page`."""
TEXT_ROUNDS = 5
"""Round trips in which a page looks for a text: Redis serves others between them."""
VERSIONS_LIMIT = 500
"""Jobs that one look at versions touches: Redis serves nobody else meanwhile."""


class ReportVerbs(ABC):
    """Part of `JobStore`, which runs the scripts."""

    _redis: Redis
    _prefix: str

    def page(
        self,
        *,
        owner: str | None = None,
        state: State | None = None,
        limit: int = 50,
        cursor: str | None = None,
        wanted: JobFilter = ALL_JOBS,
    ) -> Page:
        """Return up to `limit` jobs of an owner (None: all) in a state (None: any) that a filter wants, newest first.

        Those that precompute a style are not listed: their style tells of them.
        One call looks at PAGE_REACH records; a page may therefore hold few jobs, or none, and still have a next one.
        """
        index = "all" if owner is None else f"list:{owner}"
        before = cursor if cursor and cursor.isdecimal() else ""
        rounds, most = (TEXT_ROUNDS, PAGE_REACH // TEXT_ROUNDS) if wanted.text else (1, limit)
        chosen: list[str] = []
        for _ in range(rounds):
            ids, arrivals, before = self._run(
                "page", index, most, before, PAGE_REACH // rounds, state or "", *wanted.arguments()
            )
            matching = self._with_text(ids, wanted.text) if wanted.text else ids
            chosen += matching[: limit - len(chosen)]
            if len(chosen) == limit and chosen[-1] != ids[-1]:
                before = arrivals[ids.index(chosen[-1])]
            if not before or len(chosen) == limit:
                break
        jobs, unreadable = self._jobs(chosen)
        shown = tuple(job for job in jobs if job.kind != "precompute")
        return Page(shown, before or None, tuple(unreadable))

    def _with_text(self, ids: Sequence[str], text: str) -> list[str]:
        """Return those of some jobs that have a text in their prompt, whatever its case."""
        with redis_errors():
            batch = self._redis.pipeline(transaction=False)
            for job_id in ids:
                batch.hget(f"{self._prefix}job:{job_id}", "request")
            requests: list[str | None] = batch.execute()
        return [job_id for job_id, request in zip(ids, requests, strict=True) if text.casefold() in _prompt_of(request)]

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

    def _jobs(self, ids: Sequence[str]) -> tuple[list[Job], list[str]]:
        """Return the jobs whose records can be read, and the ids of those whose records cannot."""
        jobs, unreadable = [], []
        for job_id, record in zip(ids, self._records(ids), strict=True):
            try:
                jobs += [job_of(record)] if record else []
            except UnreadableRecord as fault:
                self._note_unreadable("job", fault)
                unreadable.append(job_id)
        return jobs, unreadable

    def _records(self, ids: Sequence[str]) -> list[dict[str, str]]:
        with redis_errors():
            batch = self._redis.pipeline(transaction=False)
            for job_id in ids:
                batch.hgetall(f"{self._prefix}job:{job_id}")
            return list(batch.execute())

    def _note_unreadable(self, kind: str, fault: UnreadableRecord) -> None:
        log.warning("left out: %s", fault)
        with redis_errors():
            self._redis.hincrby(f"{self._prefix}counts", f"unreadable {kind}", 1)

    @abstractmethod
    def _run(self, name: str, *args: str | int) -> Any:
        """Run a script and return its answer. Raises StoreUnavailable."""


def _prompt_of(request: str | None) -> str:
    """Return the prompt of a stored request in small letters; empty where there is none."""
    try:
        return str(json.loads(request or "{}").get("prompt", "")).casefold()
    except (ValueError, AttributeError):  # a damaged record, which is told of where it is read
        return ""
