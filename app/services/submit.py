"""The way of a request from its form to an accepted job: check, decode, store the pictures, write the record, ring."""

import secrets
from datetime import datetime, timedelta
from functools import partial

from app.dependencies import Services
from app.errors import Conflict
from app.services.admission import admit, decoded, store
from app.services.stored_inputs import resolve
from app.uploads.multipart import Form
from app.uploads.validate import digest_of, validate, with_pictures
from workers.contract.jobs.models import Job, StylizeRequest
from workers.contract.jobs.results import Submission
from workers.contract.runtime.tracing import current_traceparent


async def submit(
    services: Services, form: Form, *, owner: str, key: str | None, source: str, lifetime: timedelta | None = None
) -> Submission:
    """Accept the job that a form asks for; nothing is stored before everything has been checked.

    It fails unless it is done within its `lifetime`.
    Raises a Problem or a ContractError.
    """
    admission = await admit(services, owner, key)  # before any picture is decoded, that of a recipe too
    stored = await resolve(services, form, owner)
    request = validate(form, services.capabilities, max_cost=services.settings.gateway_max_cost)
    async with decoded(services, form.uploads()) as pictures:
        names = {**stored, **{pointer: picture.sha256 for pointer, picture in pictures.items()}}
        deadline = await services.call(services.store.now) + lifetime if lifetime else None
        job = build_job(services, form, with_pictures(request, names), owner=owner, key=key, deadline=deadline)
        if admission.digest not in (None, job.digest):
            raise Conflict("the Idempotency-Key was used before with another request")
        accept = partial(services.store.submit, job, max_active=services.ring.in_flight(owner))
        submission = await store(services, owner, pictures, accept, admission=admission, stored=stored.items())
    if submission.created:
        services.doorbell.ring(job.id, job.queue, job.priority, job.trace)
        services.metrics.submitted.labels(job.request.method, source).inc()
    return submission


def build_job(
    services: Services,
    form: Form,
    request: StylizeRequest,
    *,
    owner: str,
    key: str | None = None,
    deadline: datetime | None = None,
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
    )
