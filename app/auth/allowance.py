"""What is left of a key's rate: told with each answer to a request that was counted."""

import math
import time
from dataclasses import dataclass

LIMIT, REMAINING, RESET = "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"


@dataclass
class Allowance:
    """How many requests a key may make in its window, how many are left, and when (Unix time) the next is free again.

    Empty until one was counted.
    """

    most: int = 0
    left: int = 0
    frees_at: float = 0.0

    @property
    def seconds(self) -> int:
        """Whole seconds until one is free again, at least 1."""
        return max(1, math.ceil(self.frees_at - time.time()))

    def headers(self) -> dict[str, str]:
        """Return the headers that tell it; none when nothing was counted."""
        if not self.most:
            return {}
        return {LIMIT: str(self.most), REMAINING: str(self.left), RESET: str(self.seconds)}
