"""Jobs from claim to commit: claim -> prepare -> denoise -> publish -> commit. Knows nothing of Celery."""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from io import BytesIO

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, set_span_in_context
from PIL import Image

from workers.contract.blobs import BlobStore, read_input
from workers.contract.blobs.names import Sha256
from workers.contract.errors import BlobError, StoreUnavailable
from workers.contract.jobs.models import Failure, GenerationRequest, Job, PrecomputeRequest, StylizeRequest
from workers.contract.jobs.record import batch_key
from workers.contract.jobs.results import Claim
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.logs import job_fields
from workers.contract.runtime.tracing import TRACER, record_span, remote_span, set_error, start_span
from workers.engine.errors import DeviceLost, Refused
from workers.engine.types import BatchItem, Engine, GenerationResult, Pictures
from workers.settings import WorkerSettings
from workers.worker.c2pa import build_signer
from workers.worker.finalize import finalize, postpone, retry_blob, retry_verdict
from workers.worker.metrics import WorkerMetrics
from workers.worker.publisher import Publisher, queue_seconds
from workers.worker.running_job import GivenBack, JobInterrupted, RunningJob
from workers.worker.threads.heartbeat import Heartbeat
from workers.worker.threads.watchdog import EXIT_DEVICE_LOST

log = logging.getLogger(__name__)


class Runner:
    """Runs jobs on one engine, those of a batch key together; the last are published as the next denoise.

    A job that was tried before runs alone: it may have ended its worker. `forget_deleted` drops from the caches what
    came from deleted styles. `exit_process` is os._exit, because nothing that holds a lost device can be unwound.
    """

    def __init__(
        self,
        store: JobStore,
        blobs: BlobStore,
        engine: Engine,
        beat: Heartbeat,
        settings: WorkerSettings,
        *,
        worker: str,
        metrics: WorkerMetrics | None = None,
        forget_deleted: Callable[[], object] = lambda: None,
        exit_process: Callable[[int], object] = os._exit,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._engine = engine
        self._beat = beat
        self._queues = settings.models
        self._worker = worker
        self._most_pictures = settings.worker_batch_pictures
        self._previews = settings.worker_preview_seconds > 0
        self._metrics = metrics or WorkerMetrics()
        self._forget_deleted = forget_deleted
        self._exit = exit_process
        self._publisher = Publisher(store, blobs, self._metrics, seal=build_signer(settings))
        self._stopping = threading.Event()

    def drain(self, served: Callable[[], None] = lambda: None) -> int:
        """Run jobs until none is left or the worker stops; return how many. Calls `served` at each look for work."""
        count = 0
        while not self._stopping.is_set() and (claims := tuple(self._claims())):
            served()
            self.run(claims)
            count += len(claims)
        served()
        return count

    def run(self, claims: Sequence[Claim]) -> None:
        """Run claimed jobs to their verdicts, or to the publisher's hands. Raises nothing of the jobs' own."""
        with ExitStack() as safety:
            jobs = []
            for claim in claims:
                job = claim.job
                log.info("job %s attempt %d: %s", job.id, job.attempts, job.request.method, extra=job_fields(job.id))
                self._metrics.claimed(job.request, queue_seconds(job))
                running = safety.enter_context(self._beat.hold(claim))
                running.span = self._job_span(job)
                running.resources.callback(running.span.end)
                jobs.append(running)
            try:
                self._await_solitude(jobs)
                self._render(jobs)
            except BaseException:
                for running in jobs:
                    finalize(self._store, running, GivenBack())
                raise

    def serve(self, queues: tuple[str, ...]) -> None:
        """Claim from these queues only."""
        self._queues = queues

    def stop(self, grace_seconds: float) -> None:
        """Claim nothing more; give running jobs back once the grace is over. Returns at once."""
        self._stopping.set()
        timer = threading.Timer(grace_seconds, self._give_back)
        timer.daemon = True
        timer.start()

    def close(self) -> None:
        """Wait for what is being published."""
        self._stopping.set()
        self._publisher.drain()

    def _give_back(self) -> None:
        for running in self._beat.held:
            running.stop(GivenBack)

    def _claims(self) -> Iterator[Claim]:
        """Yield the next job and those waiting right behind it that may share its batch."""
        try:
            claims = (self._claim(queue) for queue in self._queues)
            claim = next((claim for claim in claims if claim), None)
            pictures = 0
            while claim is not None:
                yield claim
                job = claim.job
                pictures += job.request.batch_size
                room = pictures < self._most_pictures and job.attempts == 1
                claim = self._claim(job.queue, batch_key(job.request)) if room else None
        except StoreUnavailable as fault:
            log.warning("cannot claim: %s", fault)

    def _claim(self, queue: str, batch_key: str = "") -> Claim | None:
        asked = datetime.now(UTC)
        claim = self._store.claim(queue, self._worker, batch_key)
        if claim is not None:
            job = claim.job
            record_span("wait", job.trace, job.created_at, job.started_at or job.created_at)
            record_span("claim", job.trace, asked, datetime.now(UTC))
        return claim

    def _job_span(self, job: Job) -> Span:
        """Return the span of a job in hand, in the trace of the request that asked for it. It may end in any thread."""
        facts = job.request.model_dump(include={"method", "model", "num_images", "width", "height", "steps"})
        facts |= {"id": job.id, "attempt": job.attempts, "worker": self._worker}
        return TRACER.start_span(
            "job",
            set_span_in_context(remote_span(job.trace), Context()),
            SpanKind.CONSUMER,
            {f"stylize.job.{name}": fact for name, fact in facts.items()},
        )

    def _render(self, jobs: Sequence[RunningJob]) -> None:
        ready = []
        for running in jobs:
            try:
                ready.append((running, self._batch_item(running)))
            except Exception as fault:  # noqa: BLE001  whatever it is, it is this job's own
                self._conclude(running, fault)
        outcomes = self._run_batch([item for _, item in ready])
        for (running, _), outcome in zip(ready, outcomes, strict=True):
            if isinstance(outcome, GenerationResult):
                self._publisher.submit(running, outcome, done=running.resources.pop_all().close)
            else:
                self._conclude(running, outcome)
        if any(isinstance(outcome, DeviceLost) for outcome in outcomes):
            self._replace_process()

    def _batch_item(self, running: RunningJob) -> BatchItem:
        """Return the job with its pictures, for the engine. Raises Refused for a kind that no engine runs."""
        request = running.job.request
        if not isinstance(request, StylizeRequest | PrecomputeRequest):
            raise Refused(f"this worker runs no jobs of kind {request.kind}")
        if isinstance(request, PrecomputeRequest):
            self._forget_deleted()  # later it would drop what is computed now, if the style was deleted and saved anew
        with start_span("fetch", running.span):
            pictures = self._fetch(request, running)
        on_preview = running.set_preview if self._previews else None
        return BatchItem(request, pictures, self._metrics.watching(request, running.report), running.span, on_preview)

    def _run_batch(self, items: Sequence[BatchItem]) -> Sequence[GenerationResult | Exception]:
        try:
            return self._engine.run_batch(items) if items else ()
        except Exception as fault:  # noqa: BLE001  an engine that fails as a whole fails all that it had
            return [fault] * len(items)

    def _await_solitude(self, jobs: Sequence[RunningJob]) -> None:
        """Let nothing else be in hand when a job starts that may end this process."""
        if any(running.job.attempts > 1 for running in jobs):
            self._publisher.finish()

    def _replace_process(self) -> None:
        log.critical("the device will not work again in this process: replacing it")
        self._publisher.drain()
        self._exit(EXIT_DEVICE_LOST)

    def _fetch(self, request: GenerationRequest, running: RunningJob) -> Pictures:
        styles = tuple(self._read(sha256, running) for sha256 in request.style_images)
        if isinstance(request, PrecomputeRequest):
            return Pictures(styles)
        return Pictures(
            styles,
            content=self._read(request.content_image, running) if request.content_image else None,
            control=self._read(request.control_image, running) if request.control_image else None,
            mask=self._read(request.mask_image, running).convert("L") if request.mask_image else None,
        )

    def _read(self, sha256: Sha256, running: RunningJob) -> Image.Image:
        file = retry_blob(self._blobs, lambda: read_input(self._blobs, sha256), running)
        return Image.open(BytesIO(file)).convert("RGB")

    def _conclude(self, running: RunningJob, fault: Exception) -> None:
        """Write down why a job has no pictures."""
        match fault:
            case JobInterrupted():
                finalize(self._store, running, fault)
            case Refused():
                self._fail(running, Failure(code=fault.code, detail=str(fault)), retry=False)
            case DeviceLost():
                self._fail(running, Failure(code="device-lost", detail="the device failed under this job"), retry=True)
            case BlobError() | OSError():
                postpone(self._store, running, fault, "the job's pictures could not be read")
            case _:
                log.error("job %s failed", running.job.id, exc_info=fault, extra=job_fields(running.job.id))
                failure = Failure(code="internal", detail="the technique failed; the worker's log has the details")
                self._fail(running, failure, retry=False)

    def _fail(self, running: RunningJob, failure: Failure, *, retry: bool) -> None:
        job_id = running.job.id
        set_error(running.span, failure.code)
        log.warning("job %s failed: %s: %s", job_id, failure.code, failure.detail, extra=job_fields(job_id))
        retry_verdict(lambda: self._store.fail(running.claim, failure, retry=retry), running)
