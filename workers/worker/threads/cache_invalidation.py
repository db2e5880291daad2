"""The invalidator: drops from this worker's caches what was computed from the pictures of deleted styles."""

import logging
import threading
from collections.abc import Callable, Collection

from workers.contract.errors import StoreUnavailable
from workers.contract.styles.store import StyleStore
from workers.worker.threads.periodic import PeriodicThread

log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0


class CacheInvalidator(PeriodicThread):
    """Calls `forget` with the pictures of styles deleted since the last look; at first with all that are known.

    A cache on disk may have slept through deletions.
    """

    def __init__(
        self,
        styles: StyleStore,
        forget: Callable[[Collection[str]], object],
        *,
        period: float = PERIOD_SECONDS,
    ) -> None:
        super().__init__("invalidator", period)
        self._styles = styles
        self._forget = forget
        self._seen = 0
        self._looking = threading.Lock()

    def run_once(self) -> None:
        """Forget what was deleted since the last look. Safe for threads: a look under way is waited for."""
        with self._looking:
            try:
                pictures, self._seen = self._styles.deleted_since(self._seen)
            except StoreUnavailable as fault:
                log.warning("cannot learn of deleted styles: %s", fault)
                return
            if pictures:
                self._forget(pictures)
