"""The watchdog: ends this process when it makes no progress, so that its supervisor starts a fresh one.

Liveness is progress, not a process id: a hung step keeps its beat thread alive, and a consumer that lost its broker
connection can idle for ever beside a full queue.
"""

import logging
import os
import time
from collections.abc import Callable

from workers.contract.errors import StoreUnavailable
from workers.contract.jobs.store import JobStore
from workers.worker.threads.heartbeat import Heartbeat
from workers.worker.threads.periodic import PeriodicThread

log = logging.getLogger(__name__)

PERIOD_SECONDS = 0.5

EXIT_HUNG = 70
EXIT_STALLED = 71
EXIT_DEVICE_LOST = 72
EXIT_BROKEN = 73


class Watchdog(PeriodicThread):
    """Checks twice a second; `exit_process` is os._exit, because a hung thread cannot be unwound."""

    def __init__(
        self,
        store: JobStore,
        beat: Heartbeat,
        queues: tuple[str, ...],
        *,
        step_timeout: float,
        stall_timeout: float,
        exit_process: Callable[[int], object] = os._exit,
    ) -> None:
        super().__init__("watchdog", PERIOD_SECONDS)
        self._store = store
        self._beat = beat
        self._queues = queues
        self._step_timeout = step_timeout
        self._stall_timeout = stall_timeout
        self._exit = exit_process
        self._served_at = time.monotonic()
        self._waiting_since: float | None = None

    def served(self) -> None:
        """Note that the worker has just looked for work."""
        self._served_at = time.monotonic()
        self._waiting_since = None

    def serve(self, queues: tuple[str, ...]) -> None:
        """Watch these queues only."""
        self._queues = queues

    def run_once(self) -> None:
        """End the process if no job in hand moves, or if jobs wait and none is claimed."""
        now = time.monotonic()
        held = self._beat.held
        if held and all(now - running.moved_at > self._step_timeout for running in held):
            log.critical("no job made a step for %.0f s: replacing this process", self._step_timeout)
            self._exit(EXIT_HUNG)
        elif held:
            self.served()
        elif self._stalled(now):
            log.critical("jobs wait and nothing was claimed for %.0f s: replacing this process", self._stall_timeout)
            self._exit(EXIT_STALLED)

    def _stalled(self, now: float) -> bool:
        """Return whether work has waited for the whole time; a worker that had nothing to do has not stalled."""
        if now - self._served_at <= self._stall_timeout or not self._work_waits():
            self._waiting_since = None
            return False
        self._waiting_since = self._waiting_since or now
        return now - self._waiting_since > self._stall_timeout

    def _work_waits(self) -> bool:
        try:
            queue_stats = self._store.queue_stats()
        except StoreUnavailable as fault:
            log.warning("cannot read the queue: %s", fault)
            self.served()
            return False
        return any(queued.queue in self._queues and queued.count for queued in queue_stats.queued)
