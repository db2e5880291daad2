"""Which metrics there must be, and a service under some load that exposes all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.support.service import PATIENCE, Service, free_port, quick, service

WORKERS_OWN = frozenset(
    {
        "stylize_queue_wait_seconds",
        "stylize_job_duration_seconds",
        "stylize_stage_duration_seconds",
        "stylize_denoise_step_seconds",
        "stylize_batch_size",
        "stylize_model_load_seconds",
        "stylize_models_resident",
        "stylize_model_broken",
        "stylize_style_cache_requests_total",
        "stylize_style_cache_bytes",
        "stylize_gpu_memory_bytes",
        "stylize_gpu_seconds_total",
        "stylize_oom_total",
        "stylize_build_info",
    }
)
GATEWAYS_OWN = frozenset(
    {
        "stylize_jobs_submitted_total",
        "stylize_jobs_finished_total",
        "stylize_jobs_queued",
        "stylize_jobs_running",
        "stylize_queue_oldest_age_seconds",
        "stylize_worker_lost_total",
        "stylize_redeliveries_total",
        "stylize_webhook_deliveries_total",
        "stylize_eta_error_seconds",
        "http_server_request_duration_seconds",
        "http_server_requests_total",
        "stylize_build_info",
    }
)
BEYOND_THE_DESIGN = frozenset(
    {
        "stylize_workers",
        "stylize_redis_memory_bytes",
        "stylize_blob_disk_bytes",
        "stylize_unreadable_records_total",
    }
)
PROMPT = "a very private garden"


class Observed:
    """A service with metrics, and what its processes logged."""

    def __init__(self, running: Service, worker_port: int) -> None:
        self.service = running
        self.worker_url = f"http://127.0.0.1:{worker_port}/metrics"

    def gateway_text(self) -> str:
        return self.service.client.get("/metrics").raise_for_status().text

    def worker_text(self) -> str:
        return httpx2.get(self.worker_url, timeout=PATIENCE).raise_for_status().text


@contextmanager
def observed(models: Path, **environ: str) -> Iterator[Observed]:
    """Yield a service that has done two jobs, refused one and canceled another."""
    port = free_port()
    metrics = {"STYLIZE_WORKER_METRICS_PORT": str(port)}
    with service(models, environ=metrics | environ) as running:
        for seed in (1, 2):
            done = running.finished(running.submit(quick(seed=seed, prompt=PROMPT))["id"])
            assert done["state"] == "succeeded", done
        canceled = running.submit(quick(steps=100, prompt=PROMPT))
        running.client.delete(f"/jobs/{canceled['id']}")
        running.finished(canceled["id"])
        yield Observed(running, port)
