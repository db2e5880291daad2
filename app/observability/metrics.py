"""The gateway's own metrics. Labels are bounded; for the queue's see queue_metrics."""

import platform
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
VERBS = frozenset({"GET", "POST", "DELETE", "HEAD", "PUT", "PATCH", "OPTIONS"})


class Metrics:
    """All metrics on a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second line for each, which nobody reads
        self.registry = CollectorRegistry()
        self.submitted = Counter(
            "stylize_jobs_submitted_total", "Accepted jobs.", ("method", "source"), registry=self.registry
        )
        self.requests = Histogram(
            "http_server_request_duration_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ("method", "route"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.answers = Counter(
            "http_server_requests_total",
            "Answered requests; a status of 0 is a caller that went away first.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.webhooks = Counter(
            "stylize_webhook_deliveries_total",
            "Webhooks sent, by what became of them.",
            ("outcome",),
            registry=self.registry,
        )
        info = Gauge("stylize_build_info", "Versions; always 1.", ("version", "python"), registry=self.registry)
        info.labels(own_version(), platform.python_version()).set(1)

    def verb(self, method: str) -> str:
        """Return the method of a request as labels tell it."""
        return method if method in VERBS else "other"

    def observe(self, verb: str, route: str, status: int, seconds: float) -> None:
        """Note one answered request."""
        self.requests.labels(verb, route).observe(seconds)
        self.answers.labels(verb, route, str(status)).inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


def own_version() -> str:
    """Return the installed version of Stylize."""
    try:
        return version("stylize")
    except PackageNotFoundError:
        return "unknown"
