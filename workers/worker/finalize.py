"""How a job that cannot go on is settled in the record, and how long to try again while Redis or the blobs are away."""

import logging
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_delay,
    wait_fixed,
)

from workers.contract.blobs import BlobStore
from workers.contract.errors import BlobError, BlobRefused, BlobStoreUnavailable, Misconfigured, StoreUnavailable
from workers.contract.jobs.models import Failure
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.logs import job_fields
from workers.contract.runtime.tracing import set_error
from workers.worker.running_job import (
    DeadlinePassed,
    GivenBack,
    JobCanceledByCaller,
    JobInterrupted,
    Lost,
    RunningJob,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds a verdict is repeated while Redis is away; after that the lease decides. As long we wait for the blobs."""
DOUBT = 20.0
"""Seconds after which a blob store that fails for one name is asked whether it serves others."""


def retry_verdict(verdict: Callable[[], bool], running: RunningJob) -> bool:
    """Return the store's answer, asking again while Redis is away. The token makes repeating harmless.

    Returns False when the job turned out to be lost or Redis stayed away.
    """
    retrying = Retrying(
        retry=retry_if_exception(lambda fault: isinstance(fault, StoreUnavailable) and running.reason is not Lost),
        wait=wait_fixed(0.2),
        stop=stop_after_delay(PATIENCE),
        reraise=True,
    )
    try:
        return retrying(verdict)
    except StoreUnavailable as fault:
        job_id = running.job.id
        log.error("job %s is left to its lease: %s", job_id, fault, extra=job_fields(job_id))
        return False


def retry_blob(blobs: BlobStore, step: Callable[[], T], running: RunningJob) -> T:
    """Return what a step with the blob store returns, trying again while it is away; its effect must be repeatable.

    Raises BlobRefused when the store serves others but not this step, BlobStoreUnavailable when it stays away, another
    BlobError at once, or Interrupted when the job must stop meanwhile.
    """

    def judge(attempt: RetryCallState) -> None:
        """Raise when trying again is no use."""
        running.touch()
        fault = attempt.outcome.exception() if attempt.outcome else None
        doubtful = isinstance(fault, BlobRefused) or (attempt.seconds_since_start or 0.0) > DOUBT
        if doubtful and _serves(blobs):
            raise BlobRefused(str(fault)) from fault
        job_id = running.job.id
        log.warning("job %s waits for the blob store: %s", job_id, fault, extra=job_fields(job_id))

    retrying = Retrying(
        retry=retry_if_exception_type((BlobRefused, BlobStoreUnavailable)),
        after=judge,
        before_sleep=lambda _: running.touch(),
        wait=wait_fixed(0.5),
        stop=stop_after_delay(PATIENCE),
    )
    try:
        return retrying(step)
    except RetryError as spent:
        fault = spent.last_attempt.exception()
        raise BlobStoreUnavailable(str(fault)) from fault


def _serves(blobs: BlobStore) -> bool:
    """Return whether a blob store takes and gives anything at all."""
    try:
        blobs.probe()
    except (BlobError, Misconfigured):
        return False
    return True


def postpone(store: JobStore, running: RunningJob, fault: Exception, detail: str) -> None:
    """Put a job off whose pictures cannot be read or stored; only a store that is away takes no attempt from it."""
    job_id = running.job.id
    log.warning("job %s is put off: %s: %s", job_id, detail, fault, extra=job_fields(job_id))
    failure = Failure(code="blob", detail=detail)
    set_error(running.span, failure.code)
    away = isinstance(fault, BlobStoreUnavailable)
    retry_verdict(lambda: store.postpone(running.claim, failure, counted=not away), running)


def finalize(store: JobStore, running: RunningJob, interrupted: JobInterrupted) -> None:
    """Write down why the job stopped: canceled, failed by deadline, given back, or nothing when it is not ours."""
    claim = running.claim
    running.span.set_attribute("stylize.job.stopped", type(interrupted).__name__)
    log.info("job %s stopped: %s", claim.job.id, type(interrupted).__name__, extra=job_fields(claim.job.id))
    match interrupted:
        case JobCanceledByCaller():
            retry_verdict(lambda: store.canceled(claim), running)
        case DeadlinePassed():
            passed = Failure(code="deadline", detail="the deadline passed while the job was running")
            retry_verdict(lambda: store.fail(claim, passed, retry=False), running)
        case GivenBack():
            retry_verdict(lambda: store.release(claim), running)
