"""The gateway's own metrics. Labels are bounded; for the queue's see queue_metrics."""

import platform
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
VERBS = frozenset({"GET", "POST", "DELETE", "HEAD", "PUT", "PATCH", "OPTIONS"})


class Metrics:
    """All metrics on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.submitted = Counter(
            "stylize_jobs_submitted_total", "Accepted jobs.", ("method", "source"), registry=self.registry
        )
        self.requests = Histogram(
            "http_server_request_duration_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ("method", "route", "status"),
            buckets=BUCKETS,
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

    def observe(self, verb: str, route: str, status: int, seconds: float) -> None:
        """Note one answered request."""
        self.requests.labels(verb if verb in VERBS else "other", route, str(status)).observe(seconds)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


def own_version() -> str:
    """Return the installed version of Stylize."""
    try:
        return version("stylize")
    except PackageNotFoundError:
        return "unknown"
