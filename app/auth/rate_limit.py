"""How often a key may ask for work: a moving window per key, counted by the library `limits`."""

import logging

from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

from app.auth.keyring import Caller
from app.errors import Fault, Invalid, RateLimited, Unavailable
from workers.contract.runtime.redis import create_pool

log = logging.getLogger(__name__)

LIMITS_URL = "STYLIZE_GATEWAY_LIMITS_URL"
AWAY_SECONDS = 5
"""When a caller may try again whose requests cannot be counted."""


class RateLimits:
    """Counts in this process (`memory://`) or, for several gateways, in a Redis; thread-safe."""

    def __init__(self, url: str) -> None:
        """Connect at the first count. Raises Misconfigured."""
        self._limiter = MovingWindowRateLimiter(_storage(url))

    def count(self, caller: Caller) -> None:
        """Count one request for work. Raises RateLimited, or Unavailable when nobody can count.

        A limit that nobody counts would be none: callers with one wait until its store is back, all others go on.
        """
        if caller.rate is not None:
            self._take(parse(caller.rate), caller, 1)

    def count_jobs(self, caller: Caller, jobs: int, pointer: str) -> None:
        """Count the jobs of a request that was counted as one already: each is a request for work.

        Raises Invalid naming a field for more than the caller may ever have at once, else as `count`.
        """
        if caller.rate is None or jobs <= 1:
            return
        limit = parse(caller.rate)
        if jobs > limit.amount:
            raise Invalid.of([Fault(pointer, f"makes {jobs} jobs; this key may ask {limit}")])
        self._take(limit, caller, jobs - 1)

    def _take(self, limit: RateLimitItem, caller: Caller, jobs: int) -> None:
        allowance = caller.allowance
        try:
            taken = self._limiter.hit(limit, caller.owner, cost=jobs)
            allowance.frees_at, allowance.left = self._limiter.get_window_stats(limit, caller.owner)
            allowance.most = limit.amount
        except StorageError as away:
            log.warning("requests cannot be counted: %s", away)
            raise Unavailable("requests of this key cannot be counted now", retry_after=AWAY_SECONDS) from away
        if not taken:
            raise RateLimited(f"this key may ask {limit}", retry_after=allowance.seconds)


def _storage(url: str) -> MemoryStorage | RedisStorage:
    """Return where requests are counted: this process or a Redis, reached as that of the jobs. Raises Misconfigured."""
    if url.startswith("memory:"):
        return MemoryStorage()
    pool = create_pool(url.replace("redis+unix:", "unix:", 1), LIMITS_URL)
    return RedisStorage("redis://", connection_pool=pool, wrap_exceptions=True)
