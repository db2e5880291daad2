"""The forgetter: drops from this worker's caches what was computed from the pictures of deleted styles."""

import logging
import threading
from collections.abc import Callable, Collection

from workers.contract.errors import StoreUnavailable
from workers.contract.styles.store import StyleStore

log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0


class CacheInvalidator(threading.Thread):
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
        super().__init__(name="forgetter", daemon=True)
        self._styles = styles
        self._forget = forget
        self._period = period
        self._seen = 0
        self._ended = threading.Event()

    def run(self) -> None:
        """Forget until `end`."""
        while True:
            try:
                pictures, self._seen = self._styles.deleted_since(self._seen)
            except StoreUnavailable as fault:
                log.warning("cannot learn of deleted styles: %s", fault)
                pictures = set()
            if pictures:
                self._forget(pictures)
            if self._ended.wait(self._period):
                return

    def end(self) -> None:
        """Stop the thread."""
        self._ended.set()
