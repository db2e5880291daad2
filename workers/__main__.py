"""`python -m workers`: one worker process beside one device.

It loads the base models, says that it is warm, and runs jobs until SIGTERM; its supervisor restarts it when it ends.
"""

import argparse
import logging
import os
import socket
import sys
import threading
import time
import warnings

import torch
from celery.platforms import SecurityWarning
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from workers.beat import Beat
from workers.celery_app import consume, create_consumer
from workers.contract import logs
from workers.contract.blobs import BlobStore, open_blobs
from workers.contract.errors import BlobError, Misconfigured, StoreUnavailable
from workers.contract.store import JobStore, WorkerStatus
from workers.metrics import WorkerMetrics
from workers.models import loader, style_cache, weights
from workers.pipelines.engine import Engine
from workers.pipelines.errors import Refused
from workers.pipelines.pool import Pool
from workers.presence import Presence
from workers.runner import Runner
from workers.settings import WorkerSettings
from workers.techniques import registry
from workers.warmup import rehearse
from workers.watchdog import Watchdog

log = logging.getLogger("workers")


class Worker:
    """The parts of one worker process, wired."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.name = settings.worker_id or f"{socket.gethostname()}-{os.getpid()}"
        self.store = JobStore.from_settings(settings)
        self.blobs = open_blobs(settings)
        models = settings.model_dir
        self.metrics = WorkerMetrics()
        self.pool = Pool(self.metrics.loading(loader(settings, models)), capacity=len(settings.models))
        self.engine = Engine(
            pool=self.pool,
            cache=style_cache(settings),
            technique=registry.technique,
            weights=weights(models),
            observer=self.metrics,
        )
        self.metrics.watch(self.engine)
        self.beat = Beat(self.store, lease_seconds=settings.lease_seconds)
        self.runner = Runner(
            self.store,
            self.blobs,
            self.engine,
            self.beat,
            queues=settings.models,
            worker=self.name,
            most_pictures=settings.worker_batch_pictures,
            metrics=self.metrics,
        )
        self.watchdog = Watchdog(
            self.store,
            self.beat,
            settings.models,
            step_timeout=settings.worker_step_timeout_seconds,
            stall_timeout=settings.worker_stall_seconds,
        )
        self.presence = Presence(self.store, self.status)
        self.methods: dict[str, dict[str, str]] = {}
        self.stopping = threading.Event()

    def status(self) -> WorkerStatus:
        """Return what this worker serves, has warm and does."""
        held = self.beat.held
        warm = tuple(self.methods)
        state = "stopping" if self.stopping.is_set() else "busy" if held else "idle" if warm else "starting"
        job_id = held[0].claim.job.id if held else None
        return WorkerStatus(
            id=self.name,
            queues=self.settings.models,
            models=warm,
            methods=dict(self.methods),
            state=state,
            job_id=job_id,
        )

    def run(self) -> int:
        """Load the models, then serve until SIGTERM; return the exit status. Raises Misconfigured, Refused."""
        if self.settings.worker_metrics_port:
            self.metrics.serve(self.settings.worker_metrics_host, self.settings.worker_metrics_port)
        await_servers(self.store, self.blobs)
        self.presence.start()
        for model in self.settings.models:
            began = time.monotonic()
            self.pool.get(model)
            self.methods[model] = rehearse(self.engine, model)
            log.info("%s is warm after %.1f s", model, time.monotonic() - began)
        self.beat.start()
        app = create_consumer(self.settings.redis_url, lambda: self.runner.drain(self.watchdog.served))
        try:
            return consume(app, self.settings.models, name=self.name, ready=self.watchdog.start, stopping=self.stop)
        finally:
            self.runner.close()
            self.presence.end()
            self.presence.join(1.0)

    def stop(self) -> None:
        """Claim nothing more; give the job in hand back when it outlasts the grace."""
        self.stopping.set()
        self.watchdog.end()
        self.runner.stop(self.settings.worker_grace_seconds)


def await_servers(store: JobStore, blobs: BlobStore, patience: float = 60.0) -> None:
    """Return once Redis and the blob store are as they must be. Raises Misconfigured when they are not."""
    ends = time.monotonic() + patience
    while True:
        try:
            store.verify()
            blobs.probe()
            return
        except (StoreUnavailable, BlobError) as fault:
            if time.monotonic() > ends:
                raise Misconfigured(str(fault)) from fault
            log.warning("waiting: %s", fault)
            time.sleep(0.5)


def quiet_libraries() -> None:
    """Keep progress bars and advice of the model libraries out of the log."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
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
        return Worker(settings).run()
    except (Misconfigured, Refused) as fault:
        print(f"worker: {fault}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
