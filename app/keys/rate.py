"""How often a key may ask for work: a moving window per key, counted by the library `limits`."""

import logging
import math
import time

from limits import parse
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter

from app.errors import RateLimited
from app.keys.ring import Caller
from workers.contract.errors import Misconfigured

log = logging.getLogger(__name__)


class RateLimits:
    """Counts in this process (`memory://`) or, for several gateways, in a Redis; thread-safe."""

    def __init__(self, url: str) -> None:
        """Connect at the first count. Raises Misconfigured."""
        try:
            options = {} if url.startswith("memory:") else {"wrap_exceptions": "true"}
            self._limiter = MovingWindowRateLimiter(storage_from_string(url, **options))
        except (ConfigurationError, ValueError) as fault:
            raise Misconfigured(f"STYLIZE_GATEWAY_LIMITS_URL: {fault}") from fault

    def count(self, caller: Caller) -> None:
        """Count one request for work. Raises RateLimited."""
        if caller.rate is None:
            return
        limit = parse(caller.rate)
        try:
            if self._limiter.hit(limit, caller.owner):
                return
            frees_at = self._limiter.get_window_stats(limit, caller.owner).reset_time
        except StorageError as away:
            log.warning("requests are not counted: %s", away)
            return
        raise RateLimited(f"this key may ask {limit}", retry_after=max(1, math.ceil(frees_at - time.time())))
