"""The sweeper: wakes workers for jobs left behind, fails what cannot be done, deletes what is kept no longer.

`python -m workers.sweeper`. Any number may run; one that dies at any point leaves nothing undone for the next.
"""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import FrameType
from typing import ClassVar

from pydantic import Field

from workers.contract.blobs import BlobStore, Stored, job_prefix, open_blobs
from workers.contract.blobs.names import INPUTS, JOBS, attempt_of, input_sha256
from workers.contract.errors import BlobError, BlobRefused, Misconfigured, StoreUnavailable, UnreadableRecord
from workers.contract.jobs.inputs import delete_unused
from workers.contract.jobs.models import Job, State
from workers.contract.jobs.store import JobStore
from workers.contract.queue.notifier import WorkerNotifier
from workers.contract.runtime import logs
from workers.contract.runtime.redis import connect
from workers.contract.runtime.settings import Settings

log = logging.getLogger(__name__)

BATCH = 500
ORPHANS_KEPT = timedelta(days=1)
"""Blobs that no job names go after this long, or after the retention where that is shorter."""


class SweeperSettings(Settings):
    """Settings of the sweeper process."""

    process: ClassVar[str] = "SWEEPER"

    sweeper_period_seconds: float = Field(1.0, gt=0, le=60, description="time between two sweeps of the job store")
    sweeper_orphan_period_seconds: float = Field(
        3600.0, gt=0, le=604_800, description="time between two searches for blobs that no job names"
    )


class Sweeper:
    """Sweeps the job store and the blobs; every step may be repeated."""

    def __init__(self, store: JobStore, blobs: BlobStore, notifier: WorkerNotifier, *, retention: timedelta) -> None:
        self._store = store
        self._blobs = blobs
        self._notifier = notifier
        self._orphans_kept = min(retention, ORPHANS_KEPT)

    def sweep(self) -> None:
        """Put the job store right once and delete the blobs of forgotten jobs. Raises StoreUnavailable, BlobError."""
        swept = self._store.sweep()
        for wake in swept.wake:
            self._notifier.notify(wake.job_id, wake.queue, wake.priority)
        if swept.expired or swept.failed or swept.collected:
            log.info(
                "%d leases ended, %d jobs failed, %d jobs forgotten", swept.expired, swept.failed, len(swept.collected)
            )
        for job_id in swept.collected:
            with _past_refusals():
                self._blobs.delete([stored.name for stored in self._blobs.list(job_prefix(job_id))])

    def collect_orphans(self) -> int:
        """Delete outputs that were never committed and inputs that no job uses, once older than ORPHANS_KEPT.

        Returns how many blobs were deleted. Raises StoreUnavailable, BlobError.
        """
        orphans = 0
        for batch in _batches(self._old(JOBS)):
            names = self._uncommitted(batch)
            with _past_refusals():
                self._blobs.delete(names)
                orphans += len(names)
        for batch in _batches(self._old(INPUTS)):
            inputs = [sha256 for stored in batch if (sha256 := input_sha256(stored.name))]
            with _past_refusals():
                orphans += delete_unused(self._store.inputs, self._blobs, inputs)
        self._store.inputs.recount()
        return orphans

    def _old(self, prefix: str) -> Iterator[Stored]:
        limit = datetime.now(tz=UTC) - self._orphans_kept
        return (stored for stored in self._blobs.list(prefix) if stored.modified < limit)

    def _uncommitted(self, batch: list[Stored]) -> list[str]:
        attempts = {stored.name: attempt for stored in batch if (attempt := attempt_of(stored.name))}
        jobs = {}
        for job_id in {job_id for job_id, _ in attempts.values()}:
            with suppress(UnreadableRecord):  # what it made may be shown by a newer release
                jobs[job_id] = self._store.get(job_id)
        return [n for n, (job_id, token) in attempts.items() if job_id in jobs and _is_void(jobs[job_id], token)]


@contextmanager
def _past_refusals() -> Iterator[None]:
    """Go on with other blobs when the store refuses to delete one: the next search for orphans finds it again."""
    try:
        yield
    except BlobRefused as fault:
        log.warning("a blob stays: %s", fault)


def _is_void(job: Job | None, token: int) -> bool:
    """Return whether what the attempt with this token wrote will never be shown."""
    if job is None or token < job.token:
        return True
    return job.state.final and job.state is not State.SUCCEEDED


def _batches(entries: Iterable[Stored]) -> Iterator[list[Stored]]:
    rest = iter(entries)
    while batch := list(islice(rest, BATCH)):
        yield batch


def attempt(step: Callable[[], object]) -> bool:
    """Do a step that Redis or the blob store may refuse. Returns whether it was done."""
    try:
        step()
    except (StoreUnavailable, BlobError) as fault:
        log.warning("the sweeper tries again later: %s", fault)
        return False
    return True


def run(settings: SweeperSettings) -> None:
    """Sweep until the process is ended. Raises Misconfigured at the start."""
    redis = connect(settings.redis_url)
    store = JobStore.from_settings(settings, redis)
    notifier = WorkerNotifier(settings.redis_url, redis)
    blobs = open_blobs(settings)
    sweeper = Sweeper(store, blobs, notifier, retention=timedelta(hours=settings.retention_hours))
    orphans_due = time.monotonic()
    verified = False
    while True:
        verified = verified or (attempt(store.verify) and attempt(blobs.probe))
        if verified:
            attempt(sweeper.sweep)
            if time.monotonic() >= orphans_due:
                attempt(sweeper.collect_orphans)
                orphans_due = time.monotonic() + settings.sweeper_orphan_period_seconds
        time.sleep(settings.sweeper_period_seconds)


def _end(signum: int, _: FrameType | None) -> None:
    # Wherever this strikes, the next sweep does what is left: no need to wait for a slow server.
    raise SystemExit(0)


def main() -> int:
    """Read the settings and run. Returns the exit status: 2 when a setting or a server is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m workers.sweeper", description=__doc__)
    parser.epilog = "Settings: " + ", ".join(f"STYLIZE_{name.upper()}" for name in SweeperSettings.model_fields)
    parser.parse_args()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _end)
    try:
        settings = SweeperSettings.read()
        logs.configure("sweeper", settings)
        run(settings)
    except Misconfigured as fault:
        print(f"sweeper: {fault}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
