"""Traces by OpenTelemetry, sent as OTLP over HTTP to where the OTEL_* variables say. Needs the extra `tracing`."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from threading import Thread
from typing import Self

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span as OpenSpan
from opentelemetry.trace import SpanKind, Status, StatusCode, get_current_span, set_span_in_context, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from workers.contract.runtime.tracing import Fact, Span, Tracing

CARRIER = "traceparent"
PATIENCE = 2.0
"""Seconds that a stop waits for the collector."""


class Recorded(Span):
    """A span that is sent."""

    def __init__(self, span: OpenSpan) -> None:
        self._span = span
        self.context = _traceparent(span)

    def note(self, **facts: Fact) -> None:
        """Add facts; a `__` in a name stands for a dot."""
        self._span.set_attributes(_named(facts))

    def rename(self, name: str) -> None:
        """Give the name that was not known at the start."""
        self._span.update_name(name)

    def fail(self, code: str) -> None:
        """Say that the work failed, by a stable code."""
        self._span.set_attribute("error.type", code)
        self._span.set_status(Status(StatusCode.ERROR, code))


class Telemetry(Tracing):
    """Spans of one process, sent in batches from a thread of their own; a collector that is away costs only spans."""

    def __init__(self, process: str, exporter: SpanExporter) -> None:
        ours = {
            "service.name": f"stylize-{process}",
            "service.version": version("stylize"),
            "service.instance.id": f"{os.uname().nodename}-{os.getpid()}",
        }
        resource = Resource.create(ours).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("stylize")

    @classmethod
    def to_collector(cls, process: str) -> Self:
        """Return spans that go to the collector of OTEL_EXPORTER_OTLP_ENDPOINT, or http://localhost:4318."""
        return cls(process, OTLPSpanExporter())

    @contextmanager
    def span(self, name: str, parent: str | None, *, consumer: bool = False, **facts: Fact) -> Iterator[Span]:
        """See Tracing."""
        kind = SpanKind.CONSUMER if consumer else SpanKind.INTERNAL
        span = self._tracer.start_span(name, _below(parent), kind=kind, attributes=_named(facts))
        with _ended(span) as recorded:
            yield recorded

    @contextmanager
    def serving(self, name: str, headers: Mapping[str, str], **facts: Fact) -> Iterator[Span]:
        """See Tracing."""
        span = self._tracer.start_span(
            name, _below(headers.get(CARRIER)), kind=SpanKind.SERVER, attributes=_named(facts)
        )
        with _ended(span) as recorded, use_span(span, record_exception=False, set_status_on_exception=False):
            yield recorded

    def here(self) -> str | None:
        """See Tracing."""
        return _traceparent(get_current_span())

    def passed(self, name: str, parent: str | None, began: datetime, ended: datetime) -> None:
        """See Tracing."""
        if parent:
            self._tracer.start_span(name, _below(parent), start_time=_nanos(began)).end(_nanos(ended))

    def close(self) -> None:
        """See Tracing."""
        sending = Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(PATIENCE)


@contextmanager
def _ended(span: OpenSpan) -> Iterator[Recorded]:
    """Give a span and end it; of what passes through only the class is noted: its text may be a caller's."""
    recorded = Recorded(span)
    try:
        yield recorded
    except BaseException as fault:
        recorded.fail(type(fault).__name__)
        raise
    finally:
        span.end()


def _below(parent: str | None) -> Context:
    """Return where a span with this traceparent as its parent belongs; a new trace for none or a malformed one."""
    return TraceContextTextMapPropagator().extract({CARRIER: parent} if parent else {}, Context())


def _traceparent(span: OpenSpan) -> str | None:
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, set_span_in_context(span, Context()))
    return carrier.get(CARRIER)


def _named(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    return {name.replace("__", "."): value for name, value in facts.items()}


def _nanos(moment: datetime) -> int:
    return round(moment.timestamp() * 1e9)
