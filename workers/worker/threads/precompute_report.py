"""The worker's word on styles: which preparations it has in its cache, told to the store every second."""

import logging
from collections.abc import Callable, Collection

from workers.contract.errors import StoreUnavailable
from workers.contract.styles.precompute import PrecomputeStore
from workers.worker.threads.periodic import PeriodicThread

log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
TTL_SECONDS = 5.0
RENEWED = 3
"""Periods after which the same is told again, before it is believed no more."""


class PrecomputeReporter(PeriodicThread):
    """Tells what `held()` returns, at once when it has changed, until `end`."""

    def __init__(
        self,
        preparations: PrecomputeStore,
        worker: str,
        held: Callable[[], Collection[str]],
        *,
        period: float = PERIOD_SECONDS,
    ) -> None:
        super().__init__("prepared", period)
        self._preparations = preparations
        self._worker = worker
        self._held = held
        self._told: Collection[str] | None = None
        self._age = 0

    def run_once(self) -> None:
        """Tell what is held when it has changed or was told long ago."""
        held = self._held()
        if held != self._told or (held and self._age >= RENEWED):
            self._told, self._age = held if self._tell(held) else None, 0
        self._age += 1

    def _tell(self, held: Collection[str]) -> bool:
        try:
            self._preparations.report(self._worker, held, TTL_SECONDS)
        except StoreUnavailable as fault:
            log.warning("cannot tell which styles are prepared: %s", fault)
            return False
        return True
