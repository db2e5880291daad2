"""The worker's metrics: names, labels, values, and the port."""

import urllib.request
from typing import Any

import pytest
from prometheus_client import generate_latest

from tests.support.exposition import Samples, families, faults, samples
from tests.support.service import PATIENCE
from workers.contract.errors import Misconfigured
from workers.contract.jobs.models import Progress, Result, StylizeRequest, Timings
from workers.worker.metrics import WorkerMetrics, resolution

NAMES = {
    "stylize_queue_wait_seconds",
    "stylize_job_duration_seconds",
    "stylize_stage_duration_seconds",
    "stylize_denoise_step_seconds",
    "stylize_batch_size",
    "stylize_model_load_seconds",
    "stylize_style_cache_requests_total",
    "stylize_gpu_seconds_total",
    "stylize_model_broken",
    "stylize_oom_total",
    "stylize_build_info",
}


def request(**fields: Any) -> StylizeRequest:
    given = {"method": "a", "model": "m", "seed": 1, "width": 512, "height": 512, "steps": 2}
    return StylizeRequest.model_validate({**given, "guidance_scale": 1.0, "strength": 0.5, **fields})


def told(metrics: WorkerMetrics) -> Samples:
    text = generate_latest(metrics.registry).decode()
    assert faults(text) == []
    return samples(text)


def labels(**pairs: str) -> frozenset[tuple[str, str]]:
    return frozenset(pairs.items())


def test_every_metric_is_declared_before_anything_happens() -> None:
    assert set(families(generate_latest(WorkerMetrics().registry).decode())) == NAMES


def test_a_published_job_is_measured() -> None:
    metrics = WorkerMetrics()
    timings = Timings(queue=2.0, load=0.1, prepare=0.2, denoise=3.0, decode=0.3, publish=0.4)
    metrics.claimed(request(), 2.0)
    metrics.published(request(), Result(images=(), timings=timings, style_cache="hit"), 4.0)
    found = told(metrics)
    assert found["stylize_queue_wait_seconds_sum", labels(method="a")] == 2.0
    assert found["stylize_job_duration_seconds_sum", labels(method="a", resolution="512x512")] == 6.0
    assert found["stylize_style_cache_requests_total", labels(method="a", result="hit")] == 1
    stages = {
        dict(key)["stage"]: value for (name, key), value in found.items() if name.endswith("stage_duration_seconds_sum")
    }
    assert stages == {"load": 0.1, "prepare": 0.2, "denoise": 3.0, "decode": 0.3, "publish": 0.4}


def test_a_job_without_style_asks_nothing_of_the_cache() -> None:
    metrics = WorkerMetrics()
    metrics.published(request(), Result(images=()), 4.0)
    assert not [name for name, _ in told(metrics) if name == "stylize_style_cache_requests_total"]


def test_steps_are_timed_between_calls() -> None:
    metrics, seen = WorkerMetrics(), []
    watch = metrics.watching(request(width=1024, height=1024), seen.append)
    progress = [
        Progress(stage="prepare", step=1, steps=2),
        *(Progress(stage="denoise", step=step, steps=3) for step in range(4)),
        Progress(stage="decode", step=1, steps=1),
    ]
    for one in progress:
        watch(one)
    assert seen == progress
    assert told(metrics)["stylize_denoise_step_seconds_count", labels(method="a", resolution="1024x1024")] == 3


def test_batches_and_lack_of_memory_are_counted() -> None:
    metrics = WorkerMetrics()
    metrics.ran("a", 4, 1.5)
    metrics.ran("a", 2, 0.5)
    metrics.ran_out_of_memory()
    found = told(metrics)
    assert found["stylize_batch_size_sum", labels(method="a")] == 6
    assert found["stylize_gpu_seconds_total", labels(method="a")] == 2.0
    assert found["stylize_oom_total", labels()] == 1


@pytest.mark.parametrize(
    ("width", "height", "bucket"),
    [
        (64, 64, "256x256"),
        (512, 512, "512x512"),
        (512, 513, "768x768"),
        (832, 1216, "1024x1024"),
        (2048, 64, "512x512"),
    ],
)
def test_sizes_fall_into_few_classes(width: int, height: int, bucket: str) -> None:
    assert resolution(request(width=width, height=height)) == bucket


def test_larger_pictures_are_one_class() -> None:
    assert resolution(request(width=2048, height=2048)) == "larger"


def test_the_port_answers_and_a_taken_one_is_named() -> None:
    port = WorkerMetrics().serve("127.0.0.1", 0)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        assert b"stylize_oom_total" in answer.read()
    with pytest.raises(Misconfigured, match=f"STYLIZE_WORKER_METRICS_PORT: cannot listen on 127.0.0.1:{port}"):
        WorkerMetrics().serve("127.0.0.1", port)
