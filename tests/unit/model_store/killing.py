"""Run by test_kills.py: pull in processes forked from this one, kill each at a random moment, look at the store.

Arguments: hub, store, kills, seed. Prints what it saw as JSON.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from model_store.fetch.hub import Hub
from model_store.fetch.progress import Silent
from model_store.fetch.pull import pull


def main() -> None:
    hub, store, kills, chance = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), random.Random(int(sys.argv[4]))
    final, digest = store / "models" / "thing" / "weights.safetensors", sys.argv[5]
    seen = {"killed": 0, "finished": 0, "broken": 0, "parts": 0, "failed": 0}
    while seen["killed"] < kills:
        child = os.fork()
        if child == 0:
            pull(["thing"], store, Hub(endpoint=hub, timeout_seconds=5), watcher=Silent())
            os._exit(0)
        time.sleep(chance.uniform(0.0, 0.08))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        seen["killed"] += os.WIFSIGNALED(status)
        seen["finished"] += status == 0
        seen["failed"] += os.WIFEXITED(status) and status != 0
        seen["parts"] += any(store.rglob("weights.safetensors.*.partial"))
        if final.exists():
            seen["broken"] += hashlib.sha256(final.read_bytes()).hexdigest() != digest
            final.unlink()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
