"""One worker process beside one device, whatever its engine: it says what is warm and runs jobs until SIGTERM."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Collection

from redis import Redis
from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_delay, wait_fixed

from workers.contract.blobs import BlobStore
from workers.contract.errors import BlobError, Misconfigured, StoreUnavailable
from workers.contract.jobs.previews import PreviewStore
from workers.contract.jobs.results import WorkerStatus
from workers.contract.jobs.store import JobStore
from workers.contract.styles.precompute import PrecomputeStore
from workers.contract.styles.store import StyleStore
from workers.engine.errors import DeviceLost, Refused
from workers.engine.types import Engine
from workers.settings import WorkerSettings
from workers.techniques import registry
from workers.worker.consumer import consume, create_consumer
from workers.worker.metrics import WorkerMetrics
from workers.worker.runner import Runner
from workers.worker.threads.cache_invalidation import CacheInvalidator
from workers.worker.threads.heartbeat import Heartbeat
from workers.worker.threads.precompute_report import PrecomputeReporter
from workers.worker.threads.presence import PresenceReporter
from workers.worker.threads.previews import PreviewPublisher
from workers.worker.threads.watchdog import EXIT_BROKEN, Watchdog

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 30.0, 600.0
MOST_REASON = 500


class Worker:
    """The parts of one worker process, wired."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        redis: Redis,
        store: JobStore,
        blobs: BlobStore,
        engine: Engine,
        warm: Callable[[str], dict[str, str]],
        metrics: WorkerMetrics,
        forget: Callable[[Collection[str]], object] = frozenset,
        prepared: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        """`warm` makes a base model ready and returns why each technique cannot run on it; empty text if it can.

        `forget` drops what was computed from style pictures, by their sha256; `prepared` returns which preparations are
        still there.
        """
        self.settings = settings
        self.name = settings.worker_id or f"{socket.gethostname()}-{os.getpid()}"
        self.store = store
        self.blobs = blobs
        self.metrics = metrics
        self._warm = warm
        self.beat = Heartbeat(self.store, lease_seconds=settings.lease_seconds)
        self.invalidator = CacheInvalidator(StyleStore(redis), forget)
        self.runner = Runner(
            store,
            blobs,
            engine,
            self.beat,
            settings,
            worker=self.name,
            metrics=metrics,
            forget_deleted=self.invalidator.run_once,
        )
        self.watchdog = watchdog(settings, self.store, self.beat)
        self.preview_publisher = PreviewPublisher(
            PreviewStore(redis), self.beat, period=settings.worker_preview_seconds
        )
        self.precompute_reporter = PrecomputeReporter(PrecomputeStore(redis), self.name, prepared)
        self.presence = PresenceReporter(self.store, self.status)
        self.methods: dict[str, dict[str, str]] = {}
        self.broken: set[str] = set()
        self.stopping = threading.Event()

    def status(self) -> WorkerStatus:
        """Return what this worker serves, has warm and does."""
        held = self.beat.held
        served = tuple(model for model in self.settings.models if model not in self.broken)
        warm = tuple(model for model in served if model in self.methods)
        state = "stopping" if self.stopping.is_set() else "busy" if held else "idle" if warm else "starting"
        job_id = held[0].claim.job.id if held else None
        return WorkerStatus(
            id=self.name,
            queues=served,
            models=warm,
            methods=dict(self.methods),
            state=state,
            job_id=job_id,
        )

    def run(self) -> int:
        """Load the models, then serve until SIGTERM; return the exit status. Raises Misconfigured, DeviceLost."""
        threading.excepthook = replace_process
        if self.settings.worker_metrics_port:
            self.metrics.serve(self.settings.worker_metrics_host, self.settings.worker_metrics_port)
        await_servers(self.store, self.blobs)
        self.presence.start()
        served = self._await_models()
        self.runner.serve(served)
        self.watchdog.serve(served)
        self.beat.start()
        self.invalidator.start()
        self.precompute_reporter.start()
        if self.settings.worker_preview_seconds:
            self.preview_publisher.start()
        app = create_consumer(self.settings.redis_url, lambda: self.runner.drain(self.watchdog.served))
        try:
            return consume(
                app,
                served,
                name=self.name,
                ready=self.watchdog.start,
                stopping=self.stop,
                hurrying=lambda: self.runner.stop(0.0),
            )
        finally:
            self.runner.close()
            self.presence.end()
            self.presence.join(1.0)

    def _await_models(self) -> tuple[str, ...]:
        """Make the models ready; return those that can be served. While there is none, try again, ever less often."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            for model in self.settings.models:
                self._make_ready(model)
            if served := tuple(model for model in self.settings.models if model not in self.broken):
                return served
            log.error("none of %s can be served; trying again in %.0f s", ", ".join(self.settings.models), pause)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _make_ready(self, model: str) -> None:
        """Make a model ready, or note why it cannot be served: that is its own state and stops no other model."""
        began = time.monotonic()
        try:
            methods = self._warm(model)
            refusals = dict.fromkeys(reversed(methods.values()))  # the last: those that need nothing but the model
            reason = f"no technique runs on it: {'; '.join(refusals)}" if methods and all(methods.values()) else ""
        except (Refused, Misconfigured) as fault:
            methods, reason = {}, str(fault)
        except DeviceLost:
            raise  # no fault of the model: another process can do it
        except Exception as fault:
            log.exception("%s could not be made ready", model)
            methods, reason = {}, f"it failed when the worker started ({type(fault).__name__}); see the worker's log"
        self.metrics.note_model(model, broken=bool(reason))
        if reason:
            log.error("%s is not served until this worker is restarted: %s", model, reason)
            self.broken.add(model)
            self.methods[model] = dict.fromkeys(registry.names(), reason[:MOST_REASON])
        else:
            log.info("%s is warm after %.1f s", model, time.monotonic() - began)
            self.broken.discard(model)
            self.methods[model] = methods

    def stop(self) -> None:
        """Claim nothing more; give the job in hand back when it outlasts the grace."""
        self.stopping.set()
        self.runner.stop(self.settings.worker_grace_seconds)


def watchdog(settings: WorkerSettings, store: JobStore, beat: Heartbeat) -> Watchdog:
    """Return what ends this process when it makes no progress."""
    return Watchdog(
        store,
        beat,
        settings.models,
        step_timeout=settings.worker_step_timeout_seconds,
        stall_timeout=settings.worker_stall_seconds,
    )


def replace_process(fault: threading.ExceptHookArgs) -> None:
    """End the process when one of its threads has failed: without beat or watchdog it would do harm."""
    name = fault.thread.name if fault.thread else "unknown"
    log.critical("the thread %s failed: replacing this process", name, exc_info=fault.exc_value)
    os._exit(EXIT_BROKEN)


def await_servers(store: JobStore, blobs: BlobStore, patience: float = 60.0) -> None:
    """Return once Redis and the blob store are as they must be. Raises Misconfigured when they are not."""

    def verify() -> None:
        store.verify()
        blobs.probe()

    retrying = Retrying(
        retry=retry_if_exception_type((StoreUnavailable, BlobError)),
        wait=wait_fixed(0.5),
        stop=stop_after_delay(patience),
        before_sleep=before_sleep_log(log, logging.WARNING),
        reraise=True,
    )
    try:
        retrying(verify)
    except (StoreUnavailable, BlobError) as fault:
        raise Misconfigured(str(fault)) from fault
