"""Host names to addresses, in threads of their own: a name server that says nothing holds up only who asks for it."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from app.webhooks.errors import NotDelivered, NotTried

THREADS = 64
PER_OWNER = 8
"""Look-ups of one owner under way, also those that nobody waits for any more: the system ends them when it likes."""
SECONDS = 4.0

GetAddrInfo = Callable[..., Sequence[Any]]


class Lookup:
    """Looks names up. To be made in the event loop."""

    def __init__(self, getaddrinfo: GetAddrInfo = socket.getaddrinfo, *, seconds: float = SECONDS) -> None:
        self._getaddrinfo = getaddrinfo
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dns")
        self._owners: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()

    async def find(self, host: str, port: int, owner: str) -> Sequence[str]:
        """Return all addresses of a host. Raises NotDelivered, and NotTried when no thread is free for this owner."""
        if self._owners[owner] >= PER_OWNER or self._owners.total() >= THREADS:
            raise NotTried("too many host names are being looked up")
        self._owners[owner] += 1
        future = self._threads.submit(self._getaddrinfo, host, port, type=socket.SOCK_STREAM)
        future.add_done_callback(lambda done: self._note_end(owner, done))
        try:
            async with asyncio.timeout(self._seconds):
                found = await asyncio.wrap_future(future)
        except TimeoutError as late:
            raise NotDelivered("the host's name server does not answer", silent=True) from late
        except (OSError, UnicodeError) as fault:
            raise NotDelivered("the host is not known") from fault
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def close(self) -> None:
        """Look nothing more up."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _note_end(self, owner: str, _: Future[Any]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._count_down, owner)

    def _count_down(self, owner: str) -> None:
        self._owners[owner] -= 1
        if not self._owners[owner]:
            del self._owners[owner]
