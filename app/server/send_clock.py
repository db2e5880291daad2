"""A peer that does not read: what waits for it in memory goes out at a least rate, or the connection ends."""

import asyncio
from collections.abc import Callable

LEAST_BYTES = 32_768
"""What must have gone out each time the clock looks."""


class SendClock:
    """Runs while a connection's write buffer is full."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, end: Callable[[], None], seconds: float
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._end = end
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look again and again until stopped."""
        self.stop()
        self._timer = self._loop.call_later(self._seconds, self._look, self._transport.get_write_buffer_size())

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, before: int) -> None:
        self._timer = None
        if before - self._transport.get_write_buffer_size() < LEAST_BYTES:
            self._end()
        else:
            self.start()
