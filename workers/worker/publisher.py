"""Publish, then commit: pictures and a manifest are put-if-absent under the job's token, then named by the record.

Runs in one thread of its own, so that the device denoises the next job meanwhile.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore

from workers.contract.blobs import BlobStore, control_map_name, manifest_name, output_name
from workers.contract.errors import BlobError
from workers.contract.jobs.models import (
    Failure,
    Image,
    Job,
    PrecomputeRequest,
    Progress,
    PublishedPicture,
    Result,
    StylizeRequest,
    Timings,
)
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.logs import job_fields
from workers.contract.runtime.tracing import set_error, start_span
from workers.engine.types import GenerationResult
from workers.worker.c2pa import Seal
from workers.worker.encode import CONTENT_TYPES, encode, encode_map, recipe
from workers.worker.finalize import finalize, postpone, retry_blob, retry_verdict
from workers.worker.metrics import WorkerMetrics
from workers.worker.running_job import JobInterrupted, RunningJob

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

    def submit(self, running: RunningJob, rendered: GenerationResult, done: Callable[[], None]) -> None:
        """Publish in the background, then call `done`. Waits while the backlog is full."""
        self._slots.acquire()

        def published(_: Future[None]) -> None:
            self._slots.release()
            done()

        self._thread.submit(self._publish, running, rendered).add_done_callback(published)

    def finish(self) -> None:
        """Wait until everything submitted is committed. For the thread that submits."""
        for _ in range(self._backlog):
            self._slots.acquire()
        self._slots.release(self._backlog)

    def drain(self) -> None:
        """Wait until everything submitted is committed; nothing may be submitted after."""
        self._thread.shutdown(wait=True)

    def _publish(self, running: RunningJob, rendered: GenerationResult) -> None:
        job = running.job
        request = job.request
        assert isinstance(request, StylizeRequest | PrecomputeRequest)
        try:
            running.report(Progress(stage="publish", step=request.steps, steps=request.steps, fraction=0.99))
            with start_span("publish", running.span):
                result = self._write(running, rendered)
            with start_span("commit", running.span):
                committed = retry_verdict(lambda: self._store.commit(running.claim, result), running)
            if committed:
                self._metrics.published(request, result, time.monotonic() - running.claimed_at)
            became = "published" if committed else "was no longer ours: nothing published"
            log.info("job %s %s", job.id, became, extra=job_fields(job.id))
        except JobInterrupted as interrupted:
            finalize(self._store, running, interrupted)
        except BlobError as fault:
            postpone(self._store, running, fault, "the pictures could not be stored")
        except Exception:
            log.exception("job %s failed while publishing", job.id, extra=job_fields(job.id))
            problem = Failure(code="internal", detail="the pictures could not be encoded")
            set_error(running.span, problem.code)
            retry_verdict(lambda: self._store.fail(running.claim, problem, retry=False), running)

    def _write(self, running: RunningJob, rendered: GenerationResult) -> Result:
        started = time.monotonic()
        job, token = running.job, running.claim.token
        images = tuple(self._write_image(running, n, rendered) for n in range(len(rendered.pictures)))
        timings = Timings(
            queue=queue_seconds(job),
            **{stage: round(seconds, 6) for stage, seconds in rendered.timings.items()},
            publish=round(time.monotonic() - started, 6),
        )
        result = Result(
            images=images,
            control_map=self._write_control_map(running, rendered),
            timings=timings,
            gpu_seconds=round(rendered.device_seconds, 6),
            style_cache=rendered.style_cache,
            warnings=rendered.warnings,
        )
        manifest = job.model_copy(update={"result": result}).model_dump_json().encode()
        self._put(running, manifest_name(job.id, token), manifest, "application/json")
        return result

    def _write_image(self, running: RunningJob, n: int, rendered: GenerationResult) -> Image:
        request = running.job.request
        assert isinstance(request, StylizeRequest)
        picture, seed = rendered.pictures[n], rendered.seeds[n]
        file = encode(picture, request.output_format, recipe(request, seed, rendered.licences, rendered.weight_storage))
        name = output_name(running.job.id, running.claim.token, n, request.output_format)
        content_type = CONTENT_TYPES[request.output_format]
        if self._seal is not None:
            file = self._seal(file, content_type)
        self._put(running, name, file, content_type)
        return Image(
            blob=name,
            width=picture.width,
            height=picture.height,
            content_type=content_type,
            sha256=hashlib.sha256(file).hexdigest(),
            seed=seed,
        )

    def _write_control_map(self, running: RunningJob, rendered: GenerationResult) -> PublishedPicture | None:
        picture = rendered.control_map
        if picture is None:
            return None
        file = encode_map(picture)
        name = control_map_name(running.job.id, running.claim.token)
        self._put(running, name, file, CONTENT_TYPES["png"])
        return PublishedPicture(
            blob=name,
            width=picture.width,
            height=picture.height,
            content_type=CONTENT_TYPES["png"],
            sha256=hashlib.sha256(file).hexdigest(),
        )

    def _put(self, running: RunningJob, name: str, data: bytes, content_type: str) -> None:
        retry_blob(self._blobs, lambda: self._blobs.put(name, data, content_type=content_type), running)


def queue_seconds(job: Job) -> float:
    """Return the seconds the job waited before this attempt started, by the Redis clock."""
    return max(0.0, (job.started_at - job.created_at).total_seconds()) if job.started_at else 0.0
