"""`python -m workers`: one worker process beside one device.

It loads the base models, says that it is warm, and runs jobs until SIGTERM; its supervisor restarts it when it ends.
"""

import argparse
import sys
import warnings
from pathlib import Path

import torch
from celery.platforms import SecurityWarning

from model_store.load import quiet
from workers.contract.blobs import open_blobs
from workers.contract.errors import Misconfigured
from workers.contract.jobs.store import JobStore
from workers.contract.runtime import logs
from workers.contract.runtime.redis import connect
from workers.contract.runtime.tracing import open_tracing
from workers.engine import device
from workers.engine.backbones.latent_preview import projection
from workers.engine.backbones.pool import BackboneCache
from workers.engine.engine import DiffusionEngine
from workers.engine.errors import DeviceLost, Refused
from workers.settings import WorkerSettings
from workers.techniques import registry
from workers.worker.base_models import BaseModelLoader
from workers.worker.metrics import EngineCollector, WorkerMetrics
from workers.worker.process import Worker
from workers.worker.resources import locate, loras, style_cache, terms, weights
from workers.worker.threads.watchdog import EXIT_DEVICE_LOST
from workers.worker.warmup import rehearse


def worker(settings: WorkerSettings) -> Worker:
    """Return a worker with the real engine. Raises Misconfigured; for a missing model it says what fetches it."""
    metrics = WorkerMetrics(torch.version.cuda)
    models = settings.model_dir
    require_any(settings.models, models)
    loader = BaseModelLoader(settings, models)
    pool = BackboneCache(metrics.loading(loader.load), capacity=len(settings.models), lacking=loader.lacking)
    engine = DiffusionEngine(
        pool=pool,
        cache=style_cache(settings),
        technique=registry.technique,
        weights=weights(models),
        find_lora=loras(models),
        terms=terms(models),
        observer=metrics,
        most_pictures=settings.worker_batch_pictures,
    )
    metrics.registry.register(EngineCollector(engine))

    def warm(model: str) -> dict[str, str]:
        try:
            backbone = pool.get(model)
        except RuntimeError as fault:
            raise device.verdict(fault) from fault
        if settings.worker_preview_seconds:
            projection(backbone)
        return rehearse(engine, model, models)

    redis = connect(settings.redis_url)
    return Worker(
        settings,
        redis=redis,
        store=JobStore.from_settings(settings, redis),
        blobs=open_blobs(settings),
        engine=engine,
        warm=warm,
        metrics=metrics,
        forget=engine.cache.forget,
        prepared=engine.prepared.held,
    )


def require_any(names: tuple[str, ...], store: Path) -> None:
    """Raise Misconfigured unless one of the models is there: that shows before anything else is done."""
    missing = []
    for model in names:
        try:
            locate(model, store)
        except Misconfigured as fault:
            missing.append(fault)
    if len(missing) == len(names):
        raise missing[0]


def quiet_libraries() -> None:
    """Keep progress bars and advice of libraries out of the log."""
    quiet.quiet_libraries()
    warnings.filterwarnings("ignore", category=SecurityWarning)


def main() -> int:
    """Read the settings and work. Returns the exit status: 2 when a setting, server or model is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.epilog = "Settings: " + ", ".join(f"STYLIZE_{name.upper()}" for name in WorkerSettings.model_fields)
    parser.parse_args()
    quiet_libraries()
    try:
        settings = WorkerSettings.read()
        logs.configure("worker", settings)
        if not settings.models:
            raise Misconfigured("STYLIZE_MODELS names no base model; name at least one")
        if settings.worker_threads:
            torch.set_num_threads(settings.worker_threads)
        close_tracing = open_tracing("worker", settings)
        try:
            return worker(settings).run()
        finally:
            close_tracing()
    except (Misconfigured, Refused) as fault:
        print(f"worker: {fault}", file=sys.stderr)
        return 2
    except DeviceLost as fault:
        print(f"worker: the device will not work again in this process: {fault}", file=sys.stderr)
        return EXIT_DEVICE_LOST


if __name__ == "__main__":
    sys.exit(main())
