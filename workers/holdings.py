"""What a worker's engine holds, for its metrics."""

from collections.abc import Iterator

import torch
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from workers.pipelines.engine import Engine


class Holdings(Collector):
    """What an engine holds: warm models, cached styles, memory of the device."""

    def __init__(self, engine: Engine) -> None:
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
