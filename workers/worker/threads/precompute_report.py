"""The worker's word on styles: which preparations it has in its cache, told to the store every second."""

import logging
import threading
from collections.abc import Callable, Collection

from workers.contract.errors import StoreUnavailable
from workers.contract.styles.precompute import PrecomputeStore

log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
TTL_SECONDS = 5.0
RENEWED = 3
"""Periods after which the same is told again, before it is believed no more."""


class PrecomputeReporter(threading.Thread):
    """Tells what `held()` returns, at once when it has changed, until `end`."""

    def __init__(
        self,
        preparations: PrecomputeStore,
        worker: str,
        held: Callable[[], Collection[str]],
        *,
        period: float = PERIOD_SECONDS,
    ) -> None:
        super().__init__(name="prepared", daemon=True)
        self._preparations = preparations
        self._worker = worker
        self._held = held
        self._period = period
        self._ended = threading.Event()

    def run(self) -> None:
        """Tell until `end`."""
        told: Collection[str] | None = None
        age = 0
        while True:
            held = self._held()
            if held != told or (held and age >= RENEWED):
                told, age = (held, 0) if self._tell(held) else (None, 0)
            if self._ended.wait(self._period):
                return
            age += 1

    def end(self) -> None:
        """Stop the thread."""
        self._ended.set()

    def _tell(self, held: Collection[str]) -> bool:
        try:
            self._preparations.report(self._worker, held, TTL_SECONDS)
        except StoreUnavailable as fault:
            log.warning("cannot tell which styles are prepared: %s", fault)
            return False
        return True
