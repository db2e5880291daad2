"""An engine without a model: the picture is a pure function of request and seed, the time is slept."""

import hashlib
import time
from collections.abc import Sequence

from PIL import Image

from tests.faults.harness.trouble import Troubles
from workers.contract.jobs.models import Job, Progress, StylizeRequest
from workers.engine.types import BatchItem, GenerationResult
from workers.worker.encode import encode, recipe


def paint(request: StylizeRequest, seed: int) -> Image.Image:
    """Return the picture of a request and seed."""
    words = f"{request.method}|{request.prompt}|{request.style_images}|{request.steps}|{seed}"
    tiles = hashlib.shake_256(words.encode()).digest(8 * 8 * 3)
    return Image.frombytes("RGB", (8, 8), tiles).resize((request.width, request.height), Image.Resampling.NEAREST)


def expected_sha256(job: Job, seed: int) -> str:
    """Return the sha256 of the file that a run without faults publishes."""
    file = encode(paint(job.request, seed), job.request.output_format, recipe(job.request, seed))
    return hashlib.sha256(file).hexdigest()


class FakeEngine:
    """Denoises nothing, step by step, all requests of a batch together."""

    def __init__(self, troubles: Troubles, step_seconds: float) -> None:
        self._troubles = troubles
        self._step_seconds = step_seconds

    def run_batch(self, works: Sequence[BatchItem]) -> list[GenerationResult | Exception]:
        """Return the outcome of each request, in order."""
        began = time.monotonic()
        failures: dict[int, Exception] = {}
        for step in range(1, max(work.request.steps for work in works) + 1):
            time.sleep(self._step_seconds)
            for n, work in enumerate(works):
                if n not in failures and step <= work.request.steps:
                    self._step(work, step, n, failures)
        seconds = time.monotonic() - began
        return [failures.get(n) or rendered(work.request, seconds) for n, work in enumerate(works)]

    def _step(self, work: BatchItem, step: int, n: int, failures: dict[int, Exception]) -> None:
        steps = work.request.steps
        try:
            work.watch(Progress(stage="denoise", step=step, steps=steps, fraction=0.9 * step / steps))
            self._troubles.at(f"step{step}", work.request.prompt)
        except Exception as failure:  # noqa: BLE001  one request's failure is its own outcome, as in the real engine
            failures[n] = failure


def rendered(request: StylizeRequest, seconds: float) -> GenerationResult:
    """Return what became of a request."""
    seeds = tuple(request.seed + n for n in range(request.num_images))
    return GenerationResult(
        pictures=[paint(request, seed) for seed in seeds],
        seeds=seeds,
        timings={"denoise": seconds},
        device_seconds=seconds,
        style_cache="none",
        control_map=paint(request, request.seed),
    )
