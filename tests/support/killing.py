"""Run by test_kills.py: pull in processes forked from this one, which are killed at a random byte or moment.

Arguments: hub, store, kills, seed, digest of the file. After each kill it looks at the store; it prints what it saw.
Several lanes kill at once, each in a store of its own.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import ssl
import sys
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import httpx2
from huggingface_hub import set_client_factory

from model_store.fetch.hub import Hub
from model_store.fetch.progress import Silent
from model_store.fetch.pull import pull

LANES = 4


class Killer(Silent):
    """Kills this process when a random part of what is missing has arrived."""

    def __init__(self, chance: float) -> None:
        self._chance, self._at = chance, 0

    def begin(self, name: str, size: int, done: int) -> None:
        self._at = done + int(self._chance * (size - done) / 10)

    def reached(self, name: str, done: int) -> None:
        if done >= self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def attempt(hub: str, store: Path, drawn: float, *, by_moment: bool) -> int:
    """Start a pull and kill it, if it does not end before; return its wait status."""
    child = os.fork()
    if child == 0:
        watcher = Silent() if by_moment else Killer(drawn)
        pull(["thing"], store, Hub(endpoint=hub, timeout_seconds=60), watcher=watcher)
        os._exit(0)
    if by_moment:
        time.sleep(drawn / 10)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def lane(hub: str, store: Path, kills: int, seed: str, digest: str) -> Counter[str]:
    """Kill so many pulls into one store; return what was seen."""
    final, chance = store / "models" / "thing" / "weights.safetensors", random.Random(seed)
    seen = Counter(killed=0, finished=0, failed=0, parts=0, broken=0)
    while seen["killed"] < kills:
        status = attempt(hub, store, chance.random(), by_moment=seen["killed"] % 4 == 3)
        seen["killed"] += os.WIFSIGNALED(status)
        seen["finished"] += status == 0
        seen["failed"] += os.WIFEXITED(status) and status != 0
        seen["parts"] += any(store.rglob("weights.safetensors.*.partial"))
        if final.exists():
            seen["broken"] += hashlib.sha256(final.read_bytes()).hexdigest() != digest
            final.unlink()
    return seen


def main() -> None:
    hub, store, kills, seed, digest = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
    tls = ssl.create_default_context()  # made once: each child would spend longer on it than on its pull
    set_client_factory(lambda: httpx2.Client(verify=tls, follow_redirects=True))
    Hub(endpoint=hub, timeout_seconds=60).stat("them/thing", "main", "weights.safetensors")
    stores = [store / f"lane-{number}" for number in range(LANES)]
    for each in stores:
        shutil.copytree(store / "added", each / "added")
    with get_context("fork").Pool(LANES) as pool:
        asked = [(hub, each, kills // LANES, f"{seed} {each.name}", digest) for each in stores]
        seen = Counter[str]()
        for each in pool.starmap(lane, asked, chunksize=1):
            seen.update(each)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
