"""Calls of the blob store in threads of their own: one that stalls holds up neither Redis nor the gateway."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from app.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 16
MOST = 64
"""Calls under way and waiting; beyond them a request is told to come again."""


class BlobCalls:
    """Bounded in number and in time. To be made in the event loop."""

    def __init__(self, *, seconds: float, most: int = MOST) -> None:
        self._seconds = seconds
        self._most = most
        self._pending = 0
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        self._loop = asyncio.get_running_loop()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns. Raises Unavailable when the store is too slow or too many wait for it.

        A call that is late goes on in its thread, and counts until it ends: the store is what ends it.
        """
        if self._pending >= self._most:
            raise Unavailable("the blob store is too slow for all that is asked of it")
        self._pending += 1
        future = self._threads.submit(partial(function, *args, **kwargs))
        future.add_done_callback(self._note_end)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError as late:
            raise Unavailable(f"the blob store did not answer within {self._seconds:g} seconds") from late

    def close(self) -> None:
        """Start nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _note_end(self, _: Future[T]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._count_down)

    def _count_down(self) -> None:
        self._pending -= 1
