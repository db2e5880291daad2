"""A job that this worker runs, from claim to verdict, and why it may have to stop."""

import time
from contextlib import ExitStack
from typing import Self

from opentelemetry.trace import INVALID_SPAN, Span

from workers.contract.jobs.models import Job, Progress
from workers.contract.jobs.results import Claim
from workers.engine.types import PreviewFrame


class JobInterrupted(Exception):
    """The job must stop now: JobCanceledByCaller, DeadlinePassed, Lost or GivenBack."""


class JobCanceledByCaller(JobInterrupted):
    """The caller canceled the job."""


class DeadlinePassed(JobInterrupted):
    """The job's own deadline passed."""


class Lost(JobInterrupted):
    """The lease ended; another worker may have the job by now."""


class GivenBack(JobInterrupted):
    """This worker is stopping and its grace is over."""


class RunningJob:
    """Written by the heartbeat (`reason`) and the denoise loop (`progress`, the preview).

    A context manager: when it ends so do its `resources`, or whoever took them over ends them.
    """

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.resources = ExitStack()
        self.progress: Progress | None = None
        self.span: Span = INVALID_SPAN
        self.reason: type[JobInterrupted] | None = None
        self._preview: PreviewFrame | None = None
        self.claimed_at = self.renewed_at = self.moved_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.resources.close()

    @property
    def job(self) -> Job:
        """The job."""
        return self.claim.job

    def report(self, progress: Progress) -> None:
        """Note progress. Raises JobInterrupted when the job must stop."""
        self.progress = progress
        self.touch()

    def touch(self) -> None:
        """Note that the job is not hung. Raises JobInterrupted when it must stop."""
        self.moved_at = time.monotonic()
        self.check()

    def set_preview(self, frame: PreviewFrame) -> None:
        """Note what the job is becoming; the newest stays."""
        self._preview = frame

    def pop_preview(self) -> PreviewFrame | None:
        """Return the frame noted since the last call, or None."""
        frame, self._preview = self._preview, None
        return frame

    def check(self) -> None:
        """Raise JobInterrupted when the job must stop."""
        if self.reason is not None:
            raise self.reason(self.claim.job.id)

    def stop(self, reason: type[JobInterrupted]) -> None:
        """Ask the loop to stop at its next step; the first reason given stays."""
        self.reason = self.reason or reason
