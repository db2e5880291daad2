"""The way of a request from its form to an accepted job: check, decode, store the pictures, write and announce it."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from app.errors import Conflict
from app.observability.metrics import Metrics
from app.services.admission import InputWriter, JobAdmission
from app.services.picture_sizes import check_sizes
from app.services.stored_inputs import StoredInputs
from app.storage.redis_calls import RedisCalls
from app.uploads.multipart import Form
from app.uploads.validate import RequestValidator, digest_of, with_pictures
from workers.contract.jobs.models import Job, StylizeRequest
from workers.contract.jobs.results import Submission
from workers.contract.jobs.store import JobStore
from workers.contract.queue.notifier import WorkerNotifier
from workers.contract.runtime.tracing import current_traceparent


@dataclass(frozen=True)
class JobAnnouncer:
    """Wakes workers for new jobs and counts these."""

    notifier: WorkerNotifier
    metrics: Metrics

    def announce(self, job: Job, source: str) -> None:
        """Tell the workers of one job, and the metrics where it came from."""
        self.notifier.notify(job.id, job.queue, job.priority, job.trace)
        self.metrics.submitted.labels(job.request.method, source).inc()


@dataclass(frozen=True)
class FormSubmitter:
    """What every way from a form to accepted jobs works with."""

    store: JobStore
    calls: RedisCalls
    validator: RequestValidator
    admission: JobAdmission
    stored_inputs: StoredInputs
    writer: InputWriter
    announcer: JobAnnouncer


class Submitter(FormSubmitter):
    """Accepts jobs; nothing is stored before everything has been checked."""

    async def submit(
        self, form: Form, *, owner: str, key: str | None, source: str, lifetime: timedelta | None = None
    ) -> Submission:
        """Accept the job that a form asks for. It fails unless it is done within its `lifetime`.

        Raises a Problem or a ContractError.
        """
        admission = await self.admission.admit(owner, key)  # before any picture is decoded, that of a recipe too
        self.validator.fill_method(form)
        stored = await self.stored_inputs.resolve(form, owner)
        request = self.validator.validate(form)
        async with self.writer.decode(form.uploads()) as pictures:
            names = {**stored, **{pointer: picture.sha256 for pointer, picture in pictures.items()}}
            await check_sizes([request], names, pictures, self.writer)
            deadline = await self.calls.call(self.store.now) + lifetime if lifetime else None
            job = build_job(form, with_pictures(request, names), owner=owner, key=key, deadline=deadline)
            if admission.digest not in (None, job.digest):
                raise Conflict("the Idempotency-Key was used before with another request")
            record = partial(self.store.submit, job, max_active=self.admission.most_active(owner))
            submission = await self.writer.write(owner, pictures, record, admission=admission, stored=stored.items())
        if submission.created:
            self.announcer.announce(job, source)
        return submission


def build_job(
    form: Form,
    request: StylizeRequest,
    *,
    owner: str,
    key: str | None = None,
    deadline: datetime | None = None,
    comparison: str | None = None,
) -> Job:
    """Return the job of a validated form whose pictures are stored."""
    return Job(
        id=secrets.token_hex(16),
        owner=owner,
        queue=request.model,
        priority=form.values.get("priority", "interactive"),
        request=request,
        digest=digest_of(request, form),
        idempotency_key=key,
        webhook_url=form.values.get("webhook_url"),
        trace=current_traceparent(),
        deadline=deadline,
        comparison=comparison,
    )
