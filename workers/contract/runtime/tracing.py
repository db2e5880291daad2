"""Traces by OpenTelemetry. Where the operator asks for none, its API has no SDK behind it and every span is a no-op.

A trace crosses from the gateway to a worker as a W3C `traceparent` in the job's record: the wake-up has no room.
Spans carry ids, methods, sizes and codes, never a prompt.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from threading import Thread

from opentelemetry.context import Context
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    get_tracer,
    set_span_in_context,
    set_tracer_provider,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from workers.contract.errors import Misconfigured
from workers.contract.runtime.settings import Settings

TRACER = get_tracer("stylize")
TRACEPARENT = "traceparent"
CLOSE_SECONDS = 2.0
"""How long a process that ends waits for the collector to take the last spans."""


@contextmanager
def start_span(
    name: str,
    parent: Span | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Iterator[Span]:
    """Give a span below `parent`, or below the current one, that is current while the block runs.

    Of what the block raises only the class is noted: the text may be a caller's.
    """
    context = None if parent is None else set_span_in_context(parent, Context())
    with TRACER.start_as_current_span(
        name, context, kind, attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as fault:
            set_error(span, type(fault).__name__)
            raise


def record_span(name: str, traceparent: str | None, began: datetime, ended: datetime) -> None:
    """Send a span of the past, below the one that a traceparent names; nothing where there is none."""
    if traceparent:
        context = set_span_in_context(remote_span(traceparent), Context())
        TRACER.start_span(name, context, start_time=_nanoseconds(began)).end(_nanoseconds(ended))


def set_error(span: Span, code: str) -> None:
    """Say that the work of a span failed, by a stable code."""
    span.set_attribute("error.type", code)
    span.set_status(Status(StatusCode.ERROR, code))


def remote_span(traceparent: str | None) -> Span:
    """Return the span of another process that a traceparent names; an invalid one, which has no trace, otherwise."""
    return get_current_span(
        TraceContextTextMapPropagator().extract({TRACEPARENT: traceparent} if traceparent else {}, Context())
    )


def current_traceparent() -> str | None:
    """Return the traceparent of the current span; None outside of any trace."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(TRACEPARENT)


def open_tracing(process: str, settings: Settings) -> Callable[[], None]:
    """Have this process send its spans, by OTLP over HTTP to where the OTEL_* variables say; return what ends that.

    A collector that is away costs only spans. Raises Misconfigured when the extra `tracing` is not installed.
    """
    if not settings.tracing:
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as missing:
        raise Misconfigured(
            f"STYLIZE_TRACING is on, but {missing.name} is not installed: pip install 'stylize[tracing]'"
        ) from missing
    resource = Resource.create(
        {
            "service.name": f"stylize-{process}",
            "service.version": version("stylize"),
            "service.instance.id": f"{os.uname().nodename}-{os.getpid()}",
        }
    ).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    set_tracer_provider(provider)

    def close() -> None:
        sending = Thread(target=provider.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(CLOSE_SECONDS)

    return close


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e9)
