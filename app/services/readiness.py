"""Whether jobs can be run: Redis there and safe, the blob store writable, a worker warm."""

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.services.model_status import status_words
from workers.contract.blobs import BlobStore
from workers.contract.errors import BlobError, Misconfigured, StoreUnavailable
from workers.contract.jobs.results import WorkerStatus
from workers.contract.jobs.store import JobStore

OK = "ok"
FRESH_SECONDS = 0.5
"""An answer is good for this long: a look writes to the blob store, and anybody may ask."""


@dataclass(frozen=True)
class ReadinessSnapshot:
    """The state of each part, "ok" or in a few words what is wrong with it; and how each served model stands."""

    checks: Mapping[str, str]
    models: Mapping[str, str]


class Readiness:
    """Looks at each part when asked; thread-safe."""

    def __init__(self, store: JobStore, blobs: BlobStore, models: Collection[str], model_dir: Path) -> None:
        self._store = store
        self._blobs = blobs
        self._models = models
        self._model_dir = model_dir
        self._looking = threading.Lock()
        self._seen = ReadinessSnapshot({}, {})
        self._seen_at = -FRESH_SECONDS

    def look(self) -> ReadinessSnapshot:
        """Return how everything stands."""
        with self._looking:
            if time.monotonic() - self._seen_at >= FRESH_SECONDS:
                redis = self._redis()
                workers = self._workers() if redis == OK else None
                checks = {"redis": redis, "blobs": self._blob_store(), "workers": self._worker_check(workers)}
                self._seen = ReadinessSnapshot(checks, status_words(self._models, self._model_dir, workers or ()))
                self._seen_at = time.monotonic()
            return self._seen

    def _redis(self) -> str:
        try:
            self._store.verify()
        except StoreUnavailable:
            return "Redis does not answer"
        except Misconfigured as fault:
            return str(fault)
        return OK

    def _blob_store(self) -> str:
        try:
            self._blobs.probe()
        except (BlobError, Misconfigured):
            return "the blob store does not answer or cannot be written"
        return OK

    def _workers(self) -> Sequence[WorkerStatus] | None:
        try:
            return self._store.workers()
        except StoreUnavailable:
            return None

    def _worker_check(self, workers: Sequence[WorkerStatus] | None) -> str:
        if workers is None:
            return "unknown while Redis is away"
        if any(model in self._models for worker in workers for model in worker.models):
            return OK
        return "no worker has a model ready" if workers else "no worker is running"
