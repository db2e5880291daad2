"""The worker's sign of life: what it serves and has warm, told to the store every second."""

import logging
import threading
from collections.abc import Callable

from workers.contract.errors import StoreUnavailable
from workers.contract.jobs.results import WorkerStatus
from workers.contract.jobs.store import JobStore

log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
TTL_SECONDS = 5.0


class PresenceReporter(threading.Thread):
    """Announces `status()` until `end`; the last word is `stopping`, without models."""

    def __init__(self, store: JobStore, status: Callable[[], WorkerStatus]) -> None:
        super().__init__(name="presence", daemon=True)
        self._store = store
        self._status = status
        self._ended = threading.Event()

    def run(self) -> None:
        """Announce every second."""
        while True:
            self._announce(self._status())
            if self._ended.wait(PERIOD_SECONDS):
                break
        self._announce(self._status().model_copy(update={"state": "stopping", "models": ()}))

    def end(self) -> None:
        """Say goodbye and stop."""
        self._ended.set()

    def _announce(self, status: WorkerStatus) -> None:
        try:
            self._store.announce(status, TTL_SECONDS)
        except StoreUnavailable as fault:
            log.warning("cannot announce this worker: %s", fault)
