"""Publish, then commit: pictures and a manifest are put-if-absent under the job's token, then named by the record.

Runs in one thread of its own, so that the device denoises the next job meanwhile.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore

from workers.contract.blobs import BlobStore, manifest_name, output_name
from workers.contract.errors import BlobError
from workers.contract.jobs.models import Failure, Image, Job, Progress, Result, Timings
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.logs import job_fields
from workers.contract.runtime.tracing import set_error, start_span
from workers.engine.types import GenerationResult
from workers.worker.c2pa import Seal
from workers.worker.encode import CONTENT_TYPES, encode, recipe
from workers.worker.finalize import finalize, postpone, retry_blob, retry_verdict
from workers.worker.metrics import WorkerMetrics
from workers.worker.threads.heartbeat import Holding, JobInterrupted

log = logging.getLogger(__name__)


class Publisher:
    """Encodes, signs with `seal`, uploads and commits finished jobs, at most `backlog` behind the device."""

    def __init__(
        self,
        store: JobStore,
        blobs: BlobStore,
        metrics: WorkerMetrics,
        *,
        seal: Seal | None = None,
        backlog: int = 2,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._metrics = metrics
        self._seal = seal
        self._backlog = backlog
        self._slots = BoundedSemaphore(backlog)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publish")

    def submit(self, holding: Holding, rendered: GenerationResult, done: Callable[[], None]) -> None:
        """Publish in the background, then call `done`. Waits while the backlog is full."""
        self._slots.acquire()

        def published(_: Future[None]) -> None:
            self._slots.release()
            done()

        self._thread.submit(self._publish, holding, rendered).add_done_callback(published)

    def finish(self) -> None:
        """Wait until everything submitted is committed. For the thread that submits."""
        for _ in range(self._backlog):
            self._slots.acquire()
        self._slots.release(self._backlog)

    def drain(self) -> None:
        """Wait until everything submitted is committed; nothing may be submitted after."""
        self._thread.shutdown(wait=True)

    def _publish(self, holding: Holding, rendered: GenerationResult) -> None:
        job = holding.claim.job
        try:
            holding.report(Progress(stage="publish", step=job.request.steps, steps=job.request.steps, fraction=0.99))
            with start_span("publish", holding.span):
                result = self._write(holding, rendered)
            with start_span("commit", holding.span):
                committed = retry_verdict(lambda: self._store.commit(holding.claim, result), holding)
            if committed:
                self._metrics.published(job.request, result, time.monotonic() - holding.claimed_at)
            became = "published" if committed else "was no longer ours: nothing published"
            log.info("job %s %s", job.id, became, extra=job_fields(job.id))
        except JobInterrupted as interrupted:
            finalize(self._store, holding, interrupted)
        except BlobError as fault:
            postpone(self._store, holding, fault, "the pictures could not be stored")
        except Exception:
            log.exception("job %s failed while publishing", job.id, extra=job_fields(job.id))
            problem = Failure(code="internal", detail="the pictures could not be encoded")
            set_error(holding.span, problem.code)
            retry_verdict(lambda: self._store.fail(holding.claim, problem, retry=False), holding)

    def _write(self, holding: Holding, rendered: GenerationResult) -> Result:
        started = time.monotonic()
        job, token = holding.claim.job, holding.claim.token
        images = tuple(self._write_image(holding, n, rendered) for n in range(len(rendered.pictures)))
        timings = Timings(
            queue=queue_seconds(job),
            **{stage: round(seconds, 6) for stage, seconds in rendered.timings.items()},
            publish=round(time.monotonic() - started, 6),
        )
        result = Result(
            images=images,
            timings=timings,
            gpu_seconds=round(rendered.device_seconds, 6),
            style_cache=rendered.style_cache,
        )
        manifest = job.model_copy(update={"result": result}).model_dump_json().encode()
        self._put(holding, manifest_name(job.id, token), manifest, "application/json")
        return result

    def _write_image(self, holding: Holding, n: int, rendered: GenerationResult) -> Image:
        job, token = holding.claim.job, holding.claim.token
        picture, seed = rendered.pictures[n], rendered.seeds[n]
        file = encode(picture, job.request.output_format, recipe(job, seed, rendered.licences))
        name = output_name(job.id, token, n, job.request.output_format)
        content_type = CONTENT_TYPES[job.request.output_format]
        if self._seal is not None:
            file = self._seal(file, content_type)
        self._put(holding, name, file, content_type)
        return Image(
            blob=name,
            width=picture.width,
            height=picture.height,
            content_type=content_type,
            sha256=hashlib.sha256(file).hexdigest(),
            seed=seed,
        )

    def _put(self, holding: Holding, name: str, data: bytes, content_type: str) -> None:
        retry_blob(self._blobs, lambda: self._blobs.put(name, data, content_type=content_type), holding)


def queue_seconds(job: Job) -> float:
    """Return the seconds the job waited before this attempt started, by the Redis clock."""
    return max(0.0, (job.started_at - job.created_at).total_seconds()) if job.started_at else 0.0
