"""Waiting for jobs to change: one reader of the store for everybody who waits in this process.

Nothing is lost between two looks: who waits is told that something is new, then reads the record, which is the truth.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

from app.errors import TooManyStreams
from workers.contract.errors import StoreUnavailable

log = logging.getLogger(__name__)

PERIOD_SECONDS = 0.05
AWAY_SECONDS = 1.0

Look = Callable[[Collection[str]], Awaitable[Mapping[str, str]]]


class JobObserver:
    """One who waits for one job."""

    def __init__(self) -> None:
        self.closed = False
        self._news = asyncio.Event()

    async def changed(self, seconds: float) -> bool:
        """Return whether something is new within the time; also False once the gateway stops."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return False
        self._news.clear()
        return not self.closed

    def tell(self) -> None:
        """Wake the one who waits."""
        self._news.set()

    def close(self) -> None:
        """Wake the one who waits for good: the gateway stops."""
        self.closed = True
        self.tell()


class JobWatch:
    """Asks `look` for the state of all watched jobs, as opaque text, and tells those who wait for what is new.

    To be made in the event loop. The reader runs only while somebody waits. One caller may wait `per_caller` times at
    once, all together `most`.
    """

    def __init__(self, look: Look, *, per_caller: int, most: int) -> None:
        self._look = look
        self._per_caller = per_caller
        self._most = most
        self._callers: Counter[str] = Counter()
        self._observers: dict[str, set[JobObserver]] = defaultdict(set)
        self._seen: dict[str, str | None] = {}
        self._reader: asyncio.Task[None] | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()

    @contextmanager
    def watching(self, job_id: str, caller: str) -> Iterator[JobObserver]:
        """Watch a job while the block runs. Raises TooManyStreams."""
        if self._callers[caller] >= self._per_caller or self._callers.total() >= self._most:
            raise TooManyStreams("too many callers wait for jobs; close some streams first")
        observer = JobObserver()
        observer.closed = self._closed
        self._callers[caller] += 1
        self._observers[job_id].add(observer)
        self._seen.setdefault(job_id, None)
        if self._reader is None or self._reader.done():
            self._reader = self._loop.create_task(self._read())
        try:
            yield observer
        finally:
            self._leave(job_id, caller, observer)

    def close(self) -> None:
        """End all waiting; in the event loop."""
        self._closed = True
        for observers in self._observers.values():
            for observer in observers:
                observer.close()

    def stop(self) -> None:
        """End all waiting; from anywhere, a signal handler included."""
        self._loop.call_soon_threadsafe(self.close)

    def _leave(self, job_id: str, caller: str, observer: JobObserver) -> None:
        self._callers[caller] -= 1
        if not self._callers[caller]:
            del self._callers[caller]
        self._observers[job_id].discard(observer)
        if not self._observers[job_id]:
            del self._observers[job_id], self._seen[job_id]

    async def _read(self) -> None:
        while self._observers and not self._closed:
            try:
                found = await self._look(tuple(self._observers))
            except StoreUnavailable as away:
                log.warning("cannot watch jobs: %s", away)
                await asyncio.sleep(AWAY_SECONDS)
                continue
            for job_id, state in found.items():
                self._note(job_id, state)
            await asyncio.sleep(PERIOD_SECONDS)

    def _note(self, job_id: str, state: str) -> None:
        if job_id in self._seen and self._seen[job_id] != state:
            self._seen[job_id] = state
            for observer in self._observers[job_id]:
                observer.tell()
