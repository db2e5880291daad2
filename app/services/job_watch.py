"""Waiting for jobs to change: one reader of the store for everybody who waits in this process.

The reader follows the store's list of changes, so that its cost grows with what changes, not with who waits. Places in
the queue are not in that list, nor is what processes of the release before change: every LOOK_SECONDS it looks at all
watched jobs together. Who waits is told that something is new, then reads the record, which is the truth.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.errors import TooManyStreams
from app.storage.redis_calls import RedisCalls
from workers.contract.errors import StoreUnavailable
from workers.contract.jobs.store import JobStore

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.05
"""Between two readings of the list: what changes meanwhile is told together."""
READ_SECONDS = 0.5
"""One reading waits so long for a change; the process may end as much later."""
LOOK_SECONDS = 2.0
AWAY_SECONDS = 1.0


class JobObserver:
    """One who waits for one job."""

    def __init__(self) -> None:
        self.closed = False
        self._news = asyncio.Event()

    async def await_change(self, seconds: float) -> bool:
        """Return whether something is new within the time; also False once the gateway stops."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
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
    """Tells those who wait for a job when it changes. To be made in the event loop.

    The reader runs only while somebody waits. One caller may wait `per_caller` times at once, all together `most`.
    """

    def __init__(
        self, store: JobStore, calls: RedisCalls, *, per_caller: int, most: int, refresh: Callable[[], None]
    ) -> None:
        """`refresh` reads the keys again, here once for all who wait instead of by each of them."""
        self._store = store
        self._calls = calls
        self._refresh = refresh
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
        if self._reader is not None:
            self._reader.cancel()

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
        mark, look_at = "", 0.0
        while self._observers and not self._closed:
            try:
                if not mark:
                    mark = await self._calls.call(self._store.newest_change)
                if self._loop.time() >= look_at:
                    look_at = self._loop.time() + LOOK_SECONDS
                    await self._calls.call(self._refresh)
                    for job_id, version in (
                        await self._calls.call(self._store.versions, tuple(self._observers))
                    ).items():
                        self._note(job_id, version)
                mark, changed = await self._calls.call(self._store.changes, mark, READ_SECONDS)
            except StoreUnavailable as away:
                log.warning("cannot watch jobs: %s", away)
                await asyncio.sleep(AWAY_SECONDS)
                continue
            for job_id in changed & self._observers.keys():
                self._tell(job_id)
            if changed:
                await asyncio.sleep(PAUSE_SECONDS)

    def _note(self, job_id: str, version: str) -> None:
        if job_id in self._seen and self._seen[job_id] != version:
            self._seen[job_id] = version
            self._tell(job_id)

    def _tell(self, job_id: str) -> None:
        for observer in self._observers[job_id]:
            observer.tell()
