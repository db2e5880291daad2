"""The worker's metrics, on a port of its own. Labels are bounded: techniques, models, stages, five sizes."""

import platform
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import TypeVar

import torch
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from workers.contract.errors import Misconfigured
from workers.contract.jobs.models import GenerationRequest, Payload, Progress, Result
from workers.engine.engine import DiffusionEngine
from workers.engine.progress import EngineObserver
from workers.engine.types import Watcher

T = TypeVar("T")

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 12, 20, 30, 45, 60, 90, 120, 180, 300, 600)
STEP_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2, 5, 10)
PICTURES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
SIDES = (256, 512, 768, 1024)


def resolution(request: GenerationRequest) -> str:
    """Return the smallest of a few squares that holds as many pixels as a picture of the request."""
    pixels = request.width * request.height
    return next((f"{side}x{side}" for side in SIDES if pixels <= side * side), "larger")


class WorkerMetrics(EngineObserver):
    """All metrics of one worker process, on a registry of their own."""

    def __init__(self, cuda: str | None = None) -> None:
        """`cuda` is the version that torch was built for."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second line for each, which nobody reads
        self.registry = CollectorRegistry()
        self._waited = self._histogram("queue_wait_seconds", "Time from acceptance to a worker's claim.", ("method",))
        self._lasted = self._histogram(
            "job_duration_seconds", "Time from acceptance to publication.", ("method", "resolution")
        )
        self._stages = self._histogram(
            "stage_duration_seconds", "Time of one stage of a published job.", ("method", "stage")
        )
        self._steps = self._histogram(
            "denoise_step_seconds", "Time of one denoising step.", ("method", "resolution"), STEP_SECONDS
        )
        self._batches = self._histogram("batch_size", "Pictures that were computed together.", ("method",), PICTURES)
        self._loads = self._histogram("model_load_seconds", "Time to load a base model.", ("model",))
        self._styles = self._counter("style_cache_requests_total", "Jobs by what they found.", ("method", "result"))
        self._device = self._counter("gpu_seconds_total", "Time that the device was held.", ("method",))
        self._full = self._counter("oom_total", "Batches that did not fit into the memory.", ())
        self._broken = Gauge(
            *("stylize_model_broken", "1 for a base model that this worker cannot serve.", ("model",)),
            registry=self.registry,
        )
        self._info(cuda or "none")

    def note_model(self, model: str, *, broken: bool) -> None:
        """Note whether a base model can be served."""
        self._broken.labels(model).set(broken)

    def claimed(self, request: Payload, queue_seconds: float) -> None:
        """Note a job that begins here."""
        self._waited.labels(request.method).observe(queue_seconds)

    def published(self, request: GenerationRequest, result: Result, seconds: float) -> None:
        """Note a job that was committed, so many seconds after its claim."""
        method, size, timings = request.method, resolution(request), result.timings
        self._lasted.labels(method, size).observe(timings.queue + seconds)
        for stage, spent in timings:
            if stage != "queue":
                self._stages.labels(method, stage).observe(spent)
        if result.style_cache != "none":
            self._styles.labels(method, result.style_cache).inc()

    def watching(self, request: GenerationRequest, watch: Watcher) -> Watcher:
        """Return a watcher that passes everything to `watch` and times the denoising steps between its calls."""
        steps = self._steps.labels(request.method, resolution(request))
        began, stage = 0.0, ""

        def timing(progress: Progress) -> None:
            nonlocal began, stage
            now = time.perf_counter()
            if progress.stage == stage == "denoise":
                steps.observe(now - began)
            began, stage = now, progress.stage
            watch(progress)

        return timing

    def loading(self, load: Callable[[str], T]) -> Callable[[str], T]:
        """Return a loader of base models whose time is noted."""

        def timed(model: str) -> T:
            with self._loads.labels(model).time():
                return load(model)

        return timed

    def ran(self, method: str, pictures: int, seconds: float) -> None:
        """See EngineObserver."""
        self._batches.labels(method).observe(pictures)
        self._device.labels(method).inc(seconds)

    def ran_out_of_memory(self) -> None:
        """See EngineObserver."""
        self._full.inc()

    def serve(self, host: str, port: int) -> int:
        """Answer Prometheus on a port, 0 for a free one, from a thread; return it. Raises Misconfigured."""
        try:
            server, _ = start_http_server(port, host, self.registry)
        except OSError as fault:
            raise Misconfigured(f"STYLIZE_WORKER_METRICS_PORT: cannot listen on {host}:{port}: {fault}") from fault
        return int(server.server_port)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...] = SECONDS
    ) -> Histogram:
        return Histogram(f"stylize_{name}", text, labels, buckets=buckets, registry=self.registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"stylize_{name}", text, labels, registry=self.registry)

    def _info(self, cuda: str) -> None:
        labels = {name: version(name) for name in ("torch", "diffusers")}
        labels |= {"python": platform.python_version(), "cuda": cuda}
        info = Gauge("stylize_build_info", "Versions; always 1.", tuple(labels), registry=self.registry)
        info.labels(**labels).set(1)


class EngineCollector(Collector):
    """What an engine holds: warm models, cached styles, memory of the device."""

    def __init__(self, engine: DiffusionEngine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        models = len(self._engine.pool.warm())
        yield GaugeMetricFamily("stylize_models_resident", "Base models that are loaded.", models)
        cached = GaugeMetricFamily("stylize_style_cache_bytes", "What the style cache holds.", labels=("tier",))
        for tier, size in self._engine.cache.bytes().items():
            cached.add_metric((tier,), size)
        memory = GaugeMetricFamily("stylize_gpu_memory_bytes", "Memory of the device, by torch.", labels=("kind",))
        for kind, size in _device_memory().items():
            memory.add_metric((kind,), size)
        yield from (cached, memory)


def _device_memory() -> dict[str, int]:
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return {}
    return {
        "allocated": torch.cuda.memory_allocated(),
        "reserved": torch.cuda.memory_reserved(),
        "peak": torch.cuda.max_memory_allocated(),
    }
