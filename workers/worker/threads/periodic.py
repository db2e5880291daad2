"""What every background thread of the worker is: a piece of work repeated at a fixed period until it is ended."""

import threading
from abc import ABC, abstractmethod


class PeriodicThread(threading.Thread, ABC):
    """Calls `run_once` at once and then every `period` seconds until `end`, and `finish` after that.

    What `run_once` raises ends the thread, and with it the worker's process.
    """

    def __init__(self, name: str, period: float) -> None:
        super().__init__(name=name, daemon=True)
        self._period = period
        self._ended = threading.Event()

    @abstractmethod
    def run_once(self) -> None:
        """Do the work of one period."""

    def finish(self) -> None:
        """Do what is left to do when the thread ends."""

    def run(self) -> None:
        """Repeat the work until `end`."""
        self.run_once()
        while not self._ended.wait(self._period):
            self.run_once()
        self.finish()

    def end(self) -> None:
        """Ask the thread to end; returns at once."""
        self._ended.set()
