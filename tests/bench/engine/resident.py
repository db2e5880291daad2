"""`python -m tests.bench.engine.resident`: what keeping every technique warm costs, on the model of the demonstration.

Resident memory of a process that has run all techniques against one that has run IP-Adapter alone, the most that was
ever resident, and the seconds that a picture takes at the technique's default steps.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from deploy.embedded.environment import DEFAULT_MODEL
from tests.support.memory import resident
from workers.engine.errors import Refused
from workers.evaluation.cases import cases
from workers.evaluation.drawing import Drawer
from workers.settings import WorkerSettings
from workers.training.starter.recipe import RECIPES
from workers.worker.resources import locate

RATIO, PEAK_GIB, SECONDS = 1.3, 2.0, 6.0
ONE = "ip-adapter"


def run(methods: Sequence[str]) -> dict[str, Any]:
    """Draw one picture with each method (all that run when none is named); return memory in bytes and seconds."""
    settings = WorkerSettings.read()
    drawer = Drawer(locate(DEFAULT_MODEL, settings.model_dir), settings)
    [case] = cases(RECIPES["cpu"], 1)
    seconds = {}
    for spec in drawer.runnable():
        if methods and spec.name not in methods:
            continue
        try:
            drawer.draw(spec, [case], spec.bases[drawer.backbone.base].strength)
        except Refused:
            continue
        began = time.perf_counter()
        drawer.draw(spec, [case], spec.bases[drawer.backbone.base].strength)
        seconds[spec.name] = time.perf_counter() - began
    return {"resident": resident("VmRSS"), "peak": resident("VmHWM"), "seconds": seconds}


def apart(*methods: str) -> dict[str, Any]:
    """Return what `run` says in a process of its own."""
    command = (sys.executable, "-m", "tests.bench.engine.resident", "--run", *methods)
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.engine.resident", description=__doc__)
    parser.add_argument("--run", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        print(json.dumps(run(options.run)))
        return 0
    one, every = apart(ONE), apart()
    ratio, peak, slowest = every["resident"] / one["resident"], every["peak"] / 2**30, max(every["seconds"].values())
    listed = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in every["seconds"].items())
    print(f"{DEFAULT_MODEL}: {len(every['seconds'])} techniques warm / {ONE} alone: {ratio:.2f} (goal <= {RATIO})")
    print(f"peak {peak:.2f} GiB (goal < {PEAK_GIB}); a picture with its style warm (goal <= {SECONDS:g} s): {listed}")
    return 0 if ratio <= RATIO and peak < PEAK_GIB and slowest <= SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
