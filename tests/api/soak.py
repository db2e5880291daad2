"""`python -m tests.api.soak --cases 20000`: requests drawn from the OpenAPI document until so many were answered.

Half of them one by one, half along the document's links. Ends at the first answer that is not as documented.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.api.drawn import STEPS, Tally, alone, documented, emptied, exercised, things, walked
from tests.support.gateway import Gateway

ROUND, WALKS = 100, 50


def soak(gateway: Gateway, cases: int, start: int) -> Tally:
    """Draw and send requests; return how often each operation answered with each status."""
    drawn, tally, walks = random.Random(start), Tally(), Tally()
    document = documented(gateway)  # once: to make strategies of it takes longer than to send a thousand requests
    operations = [found.ok() for found in document.get_all_operations()]
    while tally.total() + walks.total() < cases:
        for operation in operations:
            tally += exercised(operation, things(gateway), min(ROUND, cases), start=drawn.getrandbits(32))
            emptied(gateway)
        while walks.total() < min(tally.total(), cases / 2):
            walks += walked(document, things(gateway), min(WALKS, cases // STEPS + 1), start=drawn.getrandbits(32))
            emptied(gateway)
        print(f"{tally.total():,} alone and {walks.total():,} along links of {cases:,}", flush=True)
    return tally + walks


def main() -> int:
    """Soak and print the tally. Raises what was wrong with an answer, with the request that got it."""
    parser = argparse.ArgumentParser(prog="python -m tests.api.soak", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    asked = parser.parse_args()
    print(f"seed {asked.seed}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, alone(Path(folder)) as gateway:
        tally = soak(gateway, asked.cases, asked.seed)
    for (label, status), count in sorted(tally.items()):
        print(f"{count:7,} {status} {label}")
    print(f"{tally.total():,} requests in {time.monotonic() - began:.0f} s, all answered as documented")
    return 0


if __name__ == "__main__":
    sys.exit(main())
