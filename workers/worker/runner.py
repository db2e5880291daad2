"""Jobs from claim to commit: claim -> prepare -> denoise -> publish -> commit. Knows nothing of Celery."""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, set_span_in_context
from PIL import Image

from workers.contract.blobs import BlobStore, read_input
from workers.contract.errors import BlobError, StoreUnavailable
from workers.contract.jobs.models import Failure, Job, Sha256
from workers.contract.jobs.record import batch_key
from workers.contract.jobs.results import Claim
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.logs import job_fields
from workers.contract.runtime.tracing import TRACER, record_span, remote_span, set_error, start_span
from workers.engine.errors import DeviceLost, Refused
from workers.engine.types import Engine, GenerationResult, Pictures, Work
from workers.worker.c2pa import Seal
from workers.worker.finalize import finalize, postpone, retry_blob, retry_verdict
from workers.worker.metrics import WorkerMetrics
from workers.worker.publisher import Publisher, queue_seconds
from workers.worker.threads.heartbeat import GivenBack, Heartbeat, Holding, JobInterrupted
from workers.worker.threads.watchdog import EXIT_DEVICE_LOST

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Errand:
    """A job in hand, and what lets go of it."""

    holding: Holding
    hold: ExitStack

    @property
    def job(self) -> Job:
        """The job."""
        return self.holding.claim.job


class Runner:
    """Runs jobs of `queues` on one engine, those of a batch key together; the last are published while
    the next denoise.

    `most_pictures` bounds how many pictures are claimed for one batch; with `previews` jobs leave sketches in their
    hold. A job that was tried before runs alone: it may have ended its worker. `exit_process` is os._exit, because
    nothing that holds a lost device can be unwound.
    """

    def __init__(
        self,
        store: JobStore,
        blobs: BlobStore,
        engine: Engine,
        beat: Heartbeat,
        *,
        queues: tuple[str, ...],
        worker: str,
        most_pictures: int = 1,
        previews: bool = False,
        metrics: WorkerMetrics | None = None,
        seal: Seal | None = None,
        exit_process: Callable[[int], object] = os._exit,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._engine = engine
        self._beat = beat
        self._queues = queues
        self._worker = worker
        self._most_pictures = most_pictures
        self._previews = previews
        self._metrics = metrics or WorkerMetrics()
        self._exit = exit_process
        self._publisher = Publisher(store, blobs, self._metrics, seal=seal)
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
            errands = []
            for claim in claims:
                job = claim.job
                log.info("job %s attempt %d: %s", job.id, job.attempts, job.request.method, extra=job_fields(job.id))
                self._metrics.claimed(job.request, queue_seconds(job))
                hold = safety.enter_context(ExitStack())
                errand = Errand(hold.enter_context(self._beat.hold(claim)), hold)
                errand.holding.span = self._job_span(job)
                hold.callback(errand.holding.span.end)
                errands.append(errand)
            try:
                self._await_solitude(errands)
                self._render(errands)
            except BaseException:
                for errand in errands:
                    finalize(self._store, errand.holding, GivenBack())
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
        for holding in self._beat.held:
            holding.stop(GivenBack)

    def _claims(self) -> Iterator[Claim]:
        """Yield the next job and those waiting right behind it that may share its batch."""
        try:
            claims = (self._claim(queue) for queue in self._queues)
            claim = next((claim for claim in claims if claim), None)
            pictures = 0
            while claim is not None:
                yield claim
                job = claim.job
                pictures += max(1, job.request.num_images)
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

    def _render(self, errands: Sequence[Errand]) -> None:
        ready = []
        for errand in errands:
            try:
                watch = self._metrics.watching(errand.job.request, errand.holding.report)
                with start_span("fetch", errand.holding.span):
                    pictures = self._fetch(errand)
                show = errand.holding.show if self._previews else None
                ready.append((errand, Work(errand.job.request, pictures, watch, errand.holding.span, show)))
            except Exception as fault:  # noqa: BLE001  whatever it is, it is this job's own
                self._conclude(errand, fault)
        outcomes = self._stylize([work for _, work in ready])
        for (errand, _), outcome in zip(ready, outcomes, strict=True):
            if isinstance(outcome, GenerationResult):
                self._publisher.submit(errand.holding, outcome, done=errand.hold.pop_all().close)
            else:
                self._conclude(errand, outcome)
        if any(isinstance(outcome, DeviceLost) for outcome in outcomes):
            self._replace_process()

    def _stylize(self, works: Sequence[Work]) -> Sequence[GenerationResult | Exception]:
        try:
            return self._engine.stylize_together(works) if works else ()
        except Exception as fault:  # noqa: BLE001  an engine that fails as a whole fails all that it had
            return [fault] * len(works)

    def _await_solitude(self, errands: Sequence[Errand]) -> None:
        """Let nothing else be in hand when a job starts that may end this process."""
        if any(errand.job.attempts > 1 for errand in errands):
            self._publisher.finish()

    def _replace_process(self) -> None:
        log.critical("the device will not work again in this process: replacing it")
        self._publisher.drain()
        self._exit(EXIT_DEVICE_LOST)

    def _fetch(self, errand: Errand) -> Pictures:
        request = errand.job.request
        return Pictures(
            styles=tuple(self._read(sha256, errand) for sha256 in request.style_images),
            content=self._read(request.content_image, errand) if request.content_image else None,
            control=self._read(request.control_image, errand) if request.control_image else None,
        )

    def _read(self, sha256: Sha256, errand: Errand) -> Image.Image:
        file = retry_blob(self._blobs, lambda: read_input(self._blobs, sha256), errand.holding)
        return Image.open(BytesIO(file)).convert("RGB")

    def _conclude(self, errand: Errand, fault: Exception) -> None:
        """Write down why a job has no pictures."""
        match fault:
            case JobInterrupted():
                finalize(self._store, errand.holding, fault)
            case Refused():
                self._fail(errand, Failure(code=fault.code, detail=str(fault)), retry=False)
            case DeviceLost():
                self._fail(errand, Failure(code="device-lost", detail="the device failed under this job"), retry=True)
            case BlobError() | OSError():
                postpone(self._store, errand.holding, fault, "the job's pictures could not be read")
            case _:
                log.error("job %s failed", errand.job.id, exc_info=fault, extra=job_fields(errand.job.id))
                failure = Failure(code="internal", detail="the technique failed; the worker's log has the details")
                self._fail(errand, failure, retry=False)

    def _fail(self, errand: Errand, failure: Failure, *, retry: bool) -> None:
        job_id = errand.job.id
        set_error(errand.holding.span, failure.code)
        log.warning("job %s failed: %s: %s", job_id, failure.code, failure.detail, extra=job_fields(job_id))
        retry_verdict(lambda: self._store.fail(errand.holding.claim, failure, retry=retry), errand.holding)
