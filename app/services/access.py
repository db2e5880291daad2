"""What a caller may still do who waits: the keys are looked at again and again, not only when the request came."""

import time
from dataclasses import dataclass

from app.auth.api_key import Scope
from app.auth.keyring import KeyRing
from app.services.job_watch import JobObserver
from app.storage.redis_calls import RedisCalls

CHECK_SECONDS = 2.0
"""A quiet wait is interrupted this often; with the age of the keys' copy that keeps what revocation promises."""


@dataclass(frozen=True)
class Access:
    """The key by which a caller waits."""

    keyring: KeyRing
    calls: RedisCalls
    owner: str
    scope: Scope

    async def check(self) -> None:
        """Raise Unauthorized or Forbidden once the key lets nobody in any more, StoreUnavailable if none can tell."""
        if self.keyring.due:
            await self.calls.call(self.keyring.refresh)
        self.keyring.check(self.owner, self.scope)

    async def await_news(self, observer: JobObserver, seconds: float) -> bool:
        """Return True once something is new or the gateway stops, False when the time is up. Raises as `check`."""
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            pause = min(until, last_tick(now, CHECK_SECONDS) + CHECK_SECONDS) - now
            fresh = await observer.await_change(max(pause, 0))
            await self.check()
            if fresh or observer.closed:
                return True
            if time.monotonic() >= until:
                return False


def last_tick(moment: float, period: float) -> float:
    """Return the tick before a moment. Who waits wakes at ticks: all together cost less than one after another."""
    return moment // period * period
