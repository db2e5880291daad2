"""Whether jobs can be run: Redis there and safe, the blob store writable, a worker warm."""

import threading
import time
from collections.abc import Collection, Mapping

from workers.contract.blobs import BlobStore
from workers.contract.errors import BlobError, Misconfigured, StoreUnavailable
from workers.contract.store import JobStore

OK = "ok"
FRESH_SECONDS = 0.5
"""An answer is good for this long: a look writes to the blob store, and anybody may ask."""


class Readiness:
    """Looks at each part when asked; thread-safe."""

    def __init__(self, store: JobStore, blobs: BlobStore, models: Collection[str]) -> None:
        self._store = store
        self._blobs = blobs
        self._models = models
        self._looking = threading.Lock()
        self._seen: Mapping[str, str] = {}
        self._seen_at = -FRESH_SECONDS

    def checks(self) -> Mapping[str, str]:
        """Return the state of each part: "ok", or in a few words what is wrong with it."""
        with self._looking:
            if time.monotonic() - self._seen_at >= FRESH_SECONDS:
                redis = self._redis()
                workers = self._workers() if redis == OK else "unknown while Redis is away"
                self._seen = {"redis": redis, "blobs": self._blob_store(), "workers": workers}
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

    def _workers(self) -> str:
        try:
            workers = self._store.workers()
        except StoreUnavailable:
            return "unknown while Redis is away"
        if any(model in self._models for worker in workers for model in worker.models):
            return OK
        return "no worker has a model ready" if workers else "no worker is running"
