"""The worker's sign of life: what it serves and has warm, told to the store every second."""

import logging
from collections.abc import Callable

from workers.contract.errors import StoreUnavailable
from workers.contract.jobs.results import WorkerStatus
from workers.contract.jobs.store import JobStore
from workers.worker.threads.periodic import PeriodicThread

log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
TTL_SECONDS = 5.0


class PresenceReporter(PeriodicThread):
    """Announces `status()` until `end`; the last word is `stopping`, without models."""

    def __init__(self, store: JobStore, status: Callable[[], WorkerStatus]) -> None:
        super().__init__("presence", PERIOD_SECONDS)
        self._store = store
        self._status = status

    def run_once(self) -> None:
        """Announce what this worker is now."""
        self._announce(self._status())

    def finish(self) -> None:
        """Announce that this worker stops."""
        self._announce(self._status().model_copy(update={"state": "stopping", "models": ()}))

    def _announce(self, status: WorkerStatus) -> None:
        try:
            self._store.announce(status, TTL_SECONDS)
        except StoreUnavailable as fault:
            log.warning("cannot announce this worker: %s", fault)
