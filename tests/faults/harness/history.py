"""What callers saw, in order: each request sent, each acknowledgement, each state observed; and the faults between."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tests.faults.harness.receiver import Call
from workers.contract.jobs.models import Job


@dataclass(frozen=True)
class Ask:
    """One job that a caller wants. `key` is its Idempotency-Key."""

    key: str
    prompt: str
    seed: int
    steps: int
    cancel: bool


@dataclass(frozen=True)
class Seen:
    """A job as the API showed it at one moment."""

    state: str
    images: tuple[str, ...]

    @classmethod
    def of(cls, shown: dict[str, Any]) -> "Seen":
        return cls(shown["state"], tuple(image["sha256"] for image in shown["images"]))


@dataclass(frozen=True)
class Fault:
    """One injected fault; `pid` is the process that it hit, if one."""

    kind: str
    time: float
    pid: int | None = None


@dataclass
class History:
    """Filled by callers and the injector, from several threads."""

    asks: dict[str, Ask] = field(default_factory=dict)
    acknowledged: dict[str, set[str]] = field(default_factory=dict)
    seen: dict[str, list[Seen]] = field(default_factory=dict)
    canceled: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    redis_back: list[float] = field(default_factory=list)
    finished: int = 0
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, ask: Ask, job_id: str) -> None:
        """Note that the service answered 202 with this job."""
        with self.lock:
            self.asks[ask.key] = ask
            self.acknowledged.setdefault(ask.key, set()).add(job_id)

    def observe(self, job_id: str, seen: Seen) -> None:
        """Note what a job looks like if it looks otherwise than before."""
        with self.lock:
            known = self.seen.setdefault(job_id, [])
            if not known or known[-1] != seen:
                known.append(seen)

    def finish(self) -> None:
        """Note that a caller is done with a job."""
        with self.lock:
            self.finished += 1

    def refuse(self) -> None:
        """Note a request that was not answered well."""
        with self.lock:
            self.refused += 1

    def fault(self, kind: str, pid: int | None = None) -> None:
        """Note an injected fault."""
        with self.lock:
            self.faults.append(Fault(kind, time.monotonic(), pid))


@dataclass(frozen=True)
class Evidence:
    """All that a checker needs: the history, the records at the end, what workers wrote into the journal.

    `calls` are the webhooks that came; None where nobody asked for any.
    """

    history: History
    records: dict[str, Job]
    journal: list[dict[str, Any]]
    calls: list[Call] | None = None
