"""The gateway's metrics: its own, and the queue's, read from the store when asked. Labels are bounded."""

import platform
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from workers.contract.store import Census

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
        self._queued = Gauge(
            "stylize_jobs_queued", "Jobs that wait for a worker.", ("queue", "priority"), registry=self.registry
        )
        self._running = Gauge("stylize_jobs_running", "Jobs that a worker holds.", ("method",), registry=self.registry)
        self._oldest = Gauge(
            "stylize_queue_oldest_age_seconds", "Age of the oldest waiting job.", ("queue",), registry=self.registry
        )
        info = Gauge("stylize_build_info", "Versions; always 1.", ("version", "python"), registry=self.registry)
        info.labels(own_version(), platform.python_version()).set(1)

    def observe(self, verb: str, route: str, status: int, seconds: float) -> None:
        """Note one answered request."""
        self.requests.labels(verb if verb in VERBS else "other", route, str(status)).observe(seconds)

    def text(self, census: Census | None) -> bytes:
        """Return everything in Prometheus' text format; the queue's part is empty when the store is away."""
        for gauge in (self._queued, self._running, self._oldest):
            gauge.clear()
        if census is not None:
            self._count(census)
        return generate_latest(self.registry)

    def _count(self, census: Census) -> None:
        oldest: dict[str, float] = {}
        for line in census.queued:
            self._queued.labels(line.queue, line.priority).set(line.count)
            oldest[line.queue] = max(oldest.get(line.queue, 0.0), line.oldest_age_seconds)
        for queue, age in oldest.items():
            self._oldest.labels(queue).set(age)
        for method, count in census.running.items():
            self._running.labels(method).set(count)


def own_version() -> str:
    """Return the installed version of Stylize."""
    try:
        return version("stylize")
    except PackageNotFoundError:
        return "unknown"
