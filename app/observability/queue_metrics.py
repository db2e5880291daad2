"""The queue's metrics, read from the store at each scrape: every gateway tells the same, so take `max`, not `sum`."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from workers.contract.errors import StoreUnavailable
from workers.contract.jobs.results import QueueStats, RedisMemory, WorkerStatus
from workers.contract.jobs.store import JobStore

ETA_BOUNDS = ("0.5", "1.0", "2.0", "5.0", "10.0", "20.0", "30.0", "60.0", "120.0", "300.0", "600.0", "+Inf")
"""As estimate.lua counts."""


@dataclass(frozen=True)
class QueueFacts:
    """What the store says at one moment; `disk` is size and free bytes of where blobs are, None when not on a disk."""

    queue_stats: QueueStats
    workers: tuple[WorkerStatus, ...]
    memory: RedisMemory
    disk: tuple[int, int] | None


def look(store: JobStore, blob_url: str) -> QueueFacts | None:
    """Return the facts, None when the store is away: the gateway's own metrics matter most then."""
    try:
        return QueueFacts(store.queue_stats(), store.workers(), store.memory(), disk_of(blob_url))
    except StoreUnavailable:
        return None


def disk_of(blob_url: str) -> tuple[int, int] | None:
    """Return size and free bytes of the disk of a blob store on disk; None for S3, or when it is gone."""
    scheme, _, path = blob_url.partition(":")
    if scheme != "file":
        return None
    try:
        usage = shutil.disk_usage(Path(path))
    except OSError:
        return None
    return usage.total, usage.free


def text(facts: QueueFacts | None) -> bytes:
    """Return the facts in Prometheus' text format; nothing when there are none."""
    if facts is None:
        return b""
    registry = CollectorRegistry()
    registry.register(Families(facts))
    return generate_latest(registry)


class Families(Collector):
    """The facts as metric families."""

    def __init__(self, facts: QueueFacts) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield from self._waiting()
        yield from self._work()
        yield from self._promises()
        yield from self._servers()

    def _waiting(self) -> Iterator[Metric]:
        queued = GaugeMetricFamily("stylize_jobs_queued", "Jobs that wait for a worker.", labels=("queue", "priority"))
        ages: dict[str, float] = {}
        for line in self._facts.queue_stats.queued:
            queued.add_metric((line.queue, line.priority), line.count)
            ages[line.queue] = max(ages.get(line.queue, 0.0), line.oldest_age_seconds)
        oldest = GaugeMetricFamily(
            "stylize_queue_oldest_age_seconds", "Age of the oldest waiting job.", labels=("queue",)
        )
        for queue, age in ages.items():
            oldest.add_metric((queue,), age)
        yield from (queued, oldest)

    def _work(self) -> Iterator[Metric]:
        queue_stats = self._facts.queue_stats
        running = GaugeMetricFamily("stylize_jobs_running", "Jobs that a worker holds.", labels=("method",))
        for method, count in queue_stats.running.items():
            running.add_metric((method,), count)
        finished = CounterMetricFamily(
            "stylize_jobs_finished_total",
            "Jobs that came to an end, with a failure's code as the reason.",
            labels=("method", "state", "reason"),
        )
        for labels, count in queue_stats.finished.items():
            finished.add_metric(labels, count)
        yield from (running, finished)
        yield CounterMetricFamily(
            "stylize_worker_lost_total", "Jobs whose worker fell silent while it held them.", queue_stats.lost
        )
        unreadable = CounterMetricFamily(
            "stylize_unreadable_records_total", "Records that were missing or not to be read.", labels=("kind",)
        )
        for kind, times in queue_stats.unreadable.items():
            unreadable.add_metric((kind,), times)
        yield unreadable
        yield CounterMetricFamily(
            "stylize_redeliveries_total", "Jobs given to a worker again.", queue_stats.redelivered
        )

    def _promises(self) -> Iterator[Metric]:
        counts, total = self._facts.queue_stats.eta_errors, 0
        buckets = [(bound, total := total + counts.get(bound, 0)) for bound in ETA_BOUNDS]
        yield HistogramMetricFamily(
            "stylize_eta_error_seconds",
            "How far the first promise of when a job would be done was off, either way.",
            buckets,
            self._facts.queue_stats.eta_error_seconds,
        )

    def _servers(self) -> Iterator[Metric]:
        workers = GaugeMetricFamily("stylize_workers", "Workers known to the store.", labels=("state",))
        for state in ("starting", "idle", "busy", "stopping"):
            workers.add_metric((state,), sum(worker.state == state for worker in self._facts.workers))
        memory = GaugeMetricFamily(
            "stylize_redis_memory_bytes", "Memory of Redis; a limit of 0 is no limit.", labels=("kind",)
        )
        memory.add_metric(("used",), self._facts.memory.used)
        memory.add_metric(("limit",), self._facts.memory.limit)
        disk = GaugeMetricFamily("stylize_blob_disk_bytes", "The disk that holds the pictures.", labels=("kind",))
        for kind, size in zip(("size", "free"), self._facts.disk or (), strict=False):
            disk.add_metric((kind,), size)
        yield from (workers, memory, disk)
