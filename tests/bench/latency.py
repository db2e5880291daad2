"""Idle service: seconds from accepted to started, by the Redis clock, over 200 jobs one at a time."""

import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import httpx2

from deploy.embedded.demo import EXAMPLES, stack
from tests.support.service import finished

JOBS = 200
GOAL_P95 = 0.025


def waited(client: httpx2.Client, style: bytes) -> float:
    fields = {"prompt": "a house", "method": "signal-leak", "steps": "1", "width": "64", "height": "64"}
    accepted = client.post("/stylize", data=fields, files={"style_image": ("style.png", style)})
    job = finished(client, accepted.raise_for_status().json()["id"])
    started, created = (datetime.fromisoformat(job[field]) for field in ("started_at", "created_at"))
    return (started - created).total_seconds()


def main() -> int:
    style = (EXAMPLES / "style.png").read_bytes()
    with tempfile.TemporaryDirectory(prefix="stylize-bench-") as data, stack(Path(data)) as client:
        for _ in range(10):
            waited(client, style)
        seconds = [waited(client, style) for _ in range(JOBS)]
    percentiles = statistics.quantiles(seconds, n=100)
    print(f"accepted -> started, {JOBS} jobs: p50 {percentiles[49] * 1e3:.1f} ms, p95 {percentiles[94] * 1e3:.1f} ms")
    print(f"goal: p95 <= {GOAL_P95 * 1e3:.0f} ms")
    return 0 if percentiles[94] <= GOAL_P95 else 1


if __name__ == "__main__":
    sys.exit(main())
