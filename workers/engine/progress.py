"""How far one request is, told to its watcher; and how long each stage took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from opentelemetry.trace import Span

from workers.contract.jobs.models import Progress
from workers.contract.runtime.tracing import start_span
from workers.contract.spec import Spec
from workers.engine.denoise import Trajectory
from workers.engine.technique import GenerationInputs
from workers.engine.types import Watcher

Stage = Literal["load", "prepare", "denoise", "decode"]
DENOISED = 0.95
DECODED = 0.99


def prepare_share(spec: Spec, inputs: GenerationInputs) -> float:
    """Return the part of a cold request's denoising that comes before its own denoising, 0..1."""
    references, content = len(inputs.pictures.styles), inputs.pictures.content is not None
    before = spec.cost.style_passes * references + spec.cost.content_passes * content
    return before / (before + spec.cost.row_passes * len(inputs.seeds))


class ProgressReporter:
    """Progress and timings of one request. Its fraction never falls; whatever the watcher raises passes through.

    `step` is the one reported last.
    """

    def __init__(self, watcher: Watcher, span: Span | None = None) -> None:
        self._watcher = watcher
        self._span = span
        self._prepared = 0.0
        self._fraction = 0.0
        self._before, self._share = 0.0, 1.0
        self._turn, self._turns = 0, 1
        self.step = 0
        self.seconds: dict[str, float] = {}

    def set_prepare_share(self, share: float) -> None:
        """Set the part of the work that comes before the request's own denoising, 0..1."""
        self._prepared = share * DENOISED

    @contextmanager
    def sub_range(self, number: int, turns: int) -> Iterator[None]:
        """Report what happens meanwhile as one of some equal turns, one after the other; turns may have turns."""
        outer = self._before, self._share, self._turn, self._turns
        self._share /= turns
        self._before += number * self._share * DECODED
        self._turn, self._turns = self._turn * turns + number, self._turns * turns
        try:
            yield
        finally:
            self._before, self._share, self._turn, self._turns = outer

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time a stage. A batch's shared time counts in full for each of its requests."""
        began = time.perf_counter()
        try:
            with start_span(stage, self._span):
                yield
        finally:
            self.add(stage, time.perf_counter() - began)

    def add(self, stage: Stage, seconds: float) -> None:
        """Add to the time of a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def report(self, stage: Stage, step: int = 0, steps: int = 0) -> None:
        """Tell the watcher; it raises to stop the request."""
        begin, end = {
            "load": (0.0, 0.0),
            "prepare": (0.0, self._prepared),
            "denoise": (self._prepared, DENOISED),
            "decode": (DENOISED, DECODED),
        }[stage]
        within = begin + (end - begin) * (step / steps if steps else 0.0)
        self._fraction = max(self._fraction, self._before + self._share * within)
        self.step = self._turn * steps + step
        self._watcher(Progress(stage=stage, step=self.step, steps=self._turns * steps, fraction=self._fraction))

    def preparing(self, trajectory: Trajectory) -> None:
        """Report a step of work done while preparing."""
        self.report("prepare", trajectory.step, trajectory.steps)

    def denoising(self, trajectory: Trajectory) -> None:
        """Report a step of the request's own denoising."""
        self.report("denoise", trajectory.step, trajectory.steps)


class EngineObserver:
    """Is told of batches and of memory that did not suffice; the methods here do nothing."""

    def ran(self, method: str, pictures: int, seconds: float) -> None:
        """Some pictures of one technique were computed together in this time, or the attempt failed."""

    def ran_out_of_memory(self) -> None:
        """A batch did not fit on the device; it is tried again in smaller pieces while it has any."""
