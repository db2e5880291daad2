"""`python -m tests.bench.cancel [--jobs 200]`: from DELETE to canceled, on the model of the demonstration.

Jobs of all methods are canceled at a random moment of their work; none of them may ever show a picture.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from deploy.embedded.demo import CONTENT
from deploy.embedded.environment import DEFAULT_MODEL
from tests.support.service import FINAL, Service, service, style_file

GOAL = 2.0
STEPS = 60
LONGEST = 1.5
"""Seconds of work before a job is canceled."""


def canceled_after(running: Service, method: str, wait: float) -> tuple[str, float]:
    """Return the id of a job and the seconds until its cancellation was final; 0 when it had ended before."""
    files = {**style_file(), "content_image": ("content.png", CONTENT.read_bytes(), "image/png")}
    if method != "style-id":
        del files["content_image"]
    data = {"prompt": "a house", "method": method, "steps": str(STEPS)}
    job_id = str(running.client.post("/stylize", data=data, files=files).raise_for_status().json()["id"])
    while running.job(job_id)["state"] == "queued":
        time.sleep(0.01)
    time.sleep(wait)
    began = time.monotonic()
    running.client.delete(f"/jobs/{job_id}")
    while (state := running.job(job_id)["state"]) not in FINAL:
        time.sleep(0.005)
    return job_id, time.monotonic() - began if state == "canceled" else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cancel", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    options = parser.parse_args()
    rng, model = random.Random(0), DEFAULT_MODEL
    with tempfile.TemporaryDirectory() as store, service(Path(store), environ={"STYLIZE_MODELS": model}) as running:
        methods = [one["name"] for one in running.client.get("/methods").json()["methods"] if one["available"]]
        runs = [canceled_after(running, rng.choice(methods), rng.uniform(0, LONGEST)) for _ in range(options.jobs)]
        waits = sorted(seconds for _, seconds in runs if seconds)
        shown = sum(running.published(job_id) for job_id, seconds in runs if seconds)
    p50, p99 = waits[len(waits) // 2], waits[min(len(waits) - 1, int(0.99 * len(waits)))]
    print(f"{model}: {len(waits)} of {options.jobs} jobs canceled at work: p50 {p50:.3f} s, p99 {p99:.3f} s, ", end="")
    print(f"worst {waits[-1]:.3f} s (goal p99 <= {GOAL:g} s); pictures shown afterwards: {shown}")
    return 0 if p99 <= GOAL and not shown else 1


if __name__ == "__main__":
    sys.exit(main())
