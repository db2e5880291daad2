"""One job from claim to commit: claim -> prepare -> denoise -> publish -> commit. Knows nothing of Celery."""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from io import BytesIO

from PIL import Image

from workers.beat import Beat, GivenBack, Holding, Interrupted
from workers.contract.blobs import BlobStore, input_name
from workers.contract.errors import BlobError, StoreUnavailable
from workers.contract.job import Failure, Job, Sha256
from workers.contract.store import Claim, JobStore
from workers.pipelines.engine import Engine, Refused
from workers.publisher import Publisher
from workers.settle import insist, settle
from workers.techniques.base import Pictures

log = logging.getLogger(__name__)


class Runner:
    """Runs jobs of `queues` on one engine, one at a time; the last one is published while the next denoises."""

    def __init__(
        self, store: JobStore, blobs: BlobStore, engine: Engine, beat: Beat, *, queues: tuple[str, ...], worker: str
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._engine = engine
        self._beat = beat
        self._queues = queues
        self._worker = worker
        self._publisher = Publisher(store, blobs)
        self._stopping = threading.Event()

    def drain(self, served: Callable[[], None] = lambda: None) -> int:
        """Run jobs until none is left or the worker stops; return how many. Calls `served` at each look for work."""
        count = 0
        while not self._stopping.is_set() and (claim := self._claim()):
            served()
            self.run(claim)
            count += 1
        served()
        return count

    def run(self, claim: Claim) -> None:
        """Run one claimed job to its verdict, or to the publisher's hands. Raises nothing of the job's own."""
        log.info("job %s attempt %d: %s", claim.job.id, claim.job.attempts, claim.job.request.method)
        with ExitStack() as stack:
            holding = stack.enter_context(self._beat.hold(claim))
            try:
                rendered = self._engine.stylize(claim.job.request, self._fetch(claim.job), watch=holding.watch)
                self._publisher.submit(holding, rendered, done=stack.pop_all().close)
            except Interrupted as interrupted:
                settle(self._store, holding, interrupted)
            except Refused as refusal:
                self._fail(holding, Failure(code=refusal.code, detail=str(refusal)), retry=False)
            except (BlobError, StoreUnavailable) as fault:
                self._fail(holding, Failure(code=fault.code, detail="the job's pictures could not be read"), retry=True)
            except Exception:
                log.exception("job %s failed", claim.job.id)
                self._fail(
                    holding, Failure(code="internal", detail="the technique failed; see the worker's log"), retry=False
                )
            except BaseException:
                settle(self._store, holding, GivenBack())
                raise

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

    def _claim(self) -> Claim | None:
        try:
            claims = (self._store.claim(queue, self._worker) for queue in self._queues)
            return next((claim for claim in claims if claim), None)
        except StoreUnavailable as fault:
            log.warning("cannot claim: %s", fault)
            return None

    def _fetch(self, job: Job) -> Pictures:
        request = job.request
        return Pictures(
            styles=tuple(self._read(sha256) for sha256 in request.style_images),
            content=self._read(request.content_image) if request.content_image else None,
            control=self._read(request.control_image) if request.control_image else None,
        )

    def _read(self, sha256: Sha256) -> Image.Image:
        return Image.open(BytesIO(self._blobs.get(input_name(sha256)))).convert("RGB")

    def _fail(self, holding: Holding, failure: Failure, *, retry: bool) -> None:
        log.warning("job %s failed: %s: %s", holding.claim.job.id, failure.code, failure.detail)
        insist(lambda: self._store.fail(holding.claim, failure, retry=retry), holding)
