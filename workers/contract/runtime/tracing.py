"""Traces, where the operator asks for them; a process without them has these classes, whose spans are nothing.

A trace crosses from the gateway to a worker as a W3C `traceparent` in the job's record: the doorbell has no room.
Spans carry ids, methods, sizes and codes, never a prompt.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module

from workers.contract.errors import Misconfigured
from workers.contract.runtime.settings import Settings

Fact = str | int | float | bool


class Span:
    """One piece of work in a trace; this one is in none. `context` is its traceparent, for those that belong to it."""

    context: str | None = None

    def note(self, **facts: Fact) -> None:
        """Add facts; a `__` in a name stands for a dot."""

    def rename(self, name: str) -> None:
        """Give the name that was not known at the start."""

    def fail(self, code: str) -> None:
        """Say that the work failed, by a stable code."""


class Tracing:
    """What makes spans; this one makes none. Safe for threads."""

    @contextmanager
    def span(self, name: str, parent: str | None, *, consumer: bool = False, **facts: Fact) -> Iterator[Span]:
        """Give a span under a parent (a traceparent); it lasts as long as the block, which may end in any thread.

        A `consumer` takes up what another process has left.
        """
        yield NOTHING

    @contextmanager
    def serving(self, name: str, headers: Mapping[str, str], **facts: Fact) -> Iterator[Span]:
        """Give the span of a request, which goes on with the caller's trace when the headers name one."""
        yield NOTHING

    def here(self) -> str | None:
        """Return the traceparent of the request that this task serves; None without traces."""
        return None

    def passed(self, name: str, parent: str | None, began: datetime, ended: datetime) -> None:
        """Note what lasted from one moment to another, in the trace of the parent; nothing without one."""

    def close(self) -> None:
        """Send what is pending, waiting two seconds at most."""


NOTHING = Span()
OFF = Tracing()


class Trail:
    """The spans of one job: each goes under the one that is open, `job` is the outermost. One thread at a time."""

    def __init__(self, tracing: Tracing = OFF, job: Span = NOTHING) -> None:
        self.job = job
        self._tracing = tracing
        self._open = [job.context]

    @contextmanager
    def __call__(self, name: str) -> Iterator[Span]:
        """Give a span that lasts as long as the block."""
        with self._tracing.span(name, self._open[-1]) as span:
            self._open.append(span.context)
            try:
                yield span
            finally:
                self._open.pop()


def open_tracing(process: str, settings: Settings) -> Tracing:
    """Return what makes the spans of a process. Raises Misconfigured when the extra `tracing` is not installed."""
    if not settings.tracing:
        return OFF
    try:
        telemetry = import_module("workers.contract.runtime.telemetry")
    except ModuleNotFoundError as missing:
        raise Misconfigured(
            f"STYLIZE_TRACING is on, but {missing.name} is not installed: pip install 'stylize[tracing]'"
        ) from missing
    tracing: Tracing = telemetry.Telemetry.to_collector(process)
    return tracing
