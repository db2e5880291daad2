"""`python -m tests.bench.keys`: an unknown key and a wrong secret must take the gateway as long to refuse.

Both in turn, 10,000 times each, in one process, with a hundred keys in a real Redis; the medians.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from app.auth.api_key import Token, create_api_key
from app.auth.key_store import KeyStore
from app.auth.keyring import KeyRing
from app.errors import Unauthorized
from deploy.embedded.redis import RedisProcess
from workers.contract.runtime.redis import connect

TIMES, KEYS = 10_000, 100
GOAL = 0.05


def refused(ring: KeyRing, token: Token) -> float:
    """Return the microseconds that a refusal takes."""
    header = f"Bearer {token}"
    began = time.perf_counter_ns()
    try:
        ring.caller(header)
    except Unauthorized:
        return (time.perf_counter_ns() - began) / 1000
    raise AssertionError("the key opens")


def main() -> int:
    unknown: list[float] = []
    wrong: list[float] = []
    with tempfile.TemporaryDirectory() as folder, RedisProcess(Path(folder)) as child:
        store = KeyStore(connect(child.url))
        kept = [create_api_key(f"key {n}").key for n in range(KEYS)]
        for key in kept:
            store.put(key)
        ring = KeyRing(store, always=True)
        ring.refresh()
        for n in range(TIMES):
            other = create_api_key("another").token
            unknown.append(refused(ring, other))
            wrong.append(refused(ring, Token(kept[n % KEYS].id, other.secret)))
    medians = statistics.median(unknown), statistics.median(wrong)
    ratio = medians[0] / medians[1]
    print(f"unknown key {medians[0]:.2f} us, wrong secret {medians[1]:.2f} us: {ratio:.3f} (goal 1 +- {GOAL})")
    return int(abs(ratio - 1) > GOAL)


if __name__ == "__main__":
    sys.exit(main())
