"""The job store and the blob store as the programs of this folder use them: with a journal, and trouble on demand."""

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from redis import Redis

from tests.faults.harness.trouble import Troubles
from workers.contract.blobs import BlobStore, Stored
from workers.contract.errors import BlobStoreUnavailable
from workers.contract.jobs import scripts
from workers.contract.jobs.admission import NOTHING_PUT, PutInputs
from workers.contract.jobs.models import Job, Result
from workers.contract.jobs.results import Claim, Submission
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect
from workers.contract.runtime.settings import Settings

PLANTED = {
    "commit without token compare": {"finish": ("job.token == tonumber(token) and", "")},
    "claim without state check": {"claim": ("return nil end\ndequeue(job)", "return nil end")},
}
"""Faults in the text of the scripts that the checker must find."""
FAILING, FULL, SLOW, LYING = "failing", "full", "slow", "lying"


class Journal:
    """Who claimed and committed what, one JSON line each, appended by all processes."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def note(self, event: str, claim: Claim) -> None:
        line = {"event": event, "job": claim.job.id, "token": claim.token, "pid": os.getpid(), "time": time.monotonic()}
        with self._file.open("ab") as file:
            file.write(json.dumps(line).encode() + b"\n")

    def read(self) -> list[dict[str, Any]]:
        """Return the lines; the last may be half written by a process that was killed."""
        text = self._file.read_text() if self._file.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def listening_mark(folder: Path, pid: int) -> Path:
    """Return the file that says that a worker's process listens and handles signals."""
    return folder / "listening" / str(pid)


class WatchedStore(JobStore):
    """The real store; every claim and commit that is answered goes into the journal."""

    journal: Journal
    troubles: Troubles

    def submit(self, job: Job, put: PutInputs = NOTHING_PUT, *, max_active: int | None = None) -> Submission:
        self.troubles.at("kept", job.request.prompt)
        submission = super().submit(job, put, max_active=max_active)
        self.troubles.at("recorded", job.request.prompt)
        return submission

    def claim(self, queue: str, worker: str, batch_key: str = "") -> Claim | None:
        claim = super().claim(queue, worker, batch_key)
        if claim is not None:
            self.journal.note("claimed", claim)
            self.troubles.at("claimed", claim.job.request.prompt)
        return claim

    def commit(self, claim: Claim, result: Result) -> bool:
        self.troubles.at("stored", claim.job.request.prompt)
        committed = super().commit(claim, result)
        if committed:
            self.journal.note("committed", claim)
            self.troubles.at("committed", claim.job.request.prompt)
        return committed


def open_store(settings: Settings, folder: Path, planted: str = "") -> WatchedStore:
    """Return the store of the settings, watched; `planted` names a fault in its scripts."""
    redis = connect(settings.redis_url)
    store = WatchedStore(
        redis,
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
        max_queued=settings.max_queued,
        retention_seconds=settings.retention_hours * 3600,
    )
    store.journal, store.troubles = Journal(folder / "journal"), Troubles(folder / "troubles")
    plant(store, redis, planted)
    return store


def plant(store: JobStore, redis: Redis, planted: str) -> None:
    """Put a fault into the scripts of a store."""
    for name, (right, wrong) in PLANTED.get(planted, {}).items():
        assert right in scripts.source(name)
        store._scripts[name] = redis.register_script(scripts.source(name).replace(right, wrong))


class MoodyBlobs:
    """A blob store that does what a word in a file says: failing, full, slow, lying (done, but reported as failed)."""

    def __init__(self, blobs: BlobStore, mood: Path) -> None:
        self._blobs = blobs
        self._mood = mood

    def put(self, name: str, data: bytes, *, content_type: str, if_absent: bool = True) -> None:
        mood = self._suffer()
        if mood == FULL:
            raise BlobStoreUnavailable(f"the disk fails for {name}: No space left on device")
        self._blobs.put(name, data, content_type=content_type, if_absent=if_absent)
        if mood == LYING:
            raise BlobStoreUnavailable(f"no answer for {name}")

    def get(self, name: str) -> bytes:
        self._suffer()
        return self._blobs.get(name)

    def delete(self, names: Iterable[str]) -> None:
        self._suffer()
        self._blobs.delete(names)

    def list(self, prefix: str) -> Iterator[Stored]:
        self._suffer()
        return self._blobs.list(prefix)

    def probe(self) -> None:
        self._blobs.probe()

    def _suffer(self) -> str:
        mood = ""
        with suppress(FileNotFoundError):
            mood = self._mood.read_text()
        if mood == FAILING:
            raise BlobStoreUnavailable("503 Slow Down")
        if mood == SLOW:
            time.sleep(1.0)
        return mood
