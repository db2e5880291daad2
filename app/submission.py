"""The way of a request from its form to an accepted job: check, decode, keep the pictures, write the record, ring."""

import asyncio
import secrets
from datetime import datetime, timedelta

from app.deps import Services
from app.errors import Fault, PictureRefused, Unavailable
from app.intake.decoder import Decoded, DecoderLost
from app.intake.form import Form
from app.intake.request import Draft, draft
from app.intake.rules import Refused
from app.intake.upload import Upload
from app.references import Names, keep, resolved
from workers.contract.blobs import input_name
from workers.contract.job import NewJob
from workers.contract.store import Submission


async def submit(
    services: Services, form: Form, *, owner: str, key: str | None, source: str, lifetime: timedelta | None = None
) -> Submission:
    """Accept the job that a form asks for; nothing is stored before everything has been checked.

    It fails unless it is done within its `lifetime`.
    Raises a Problem or a ContractError.
    """
    stored = await resolved(services, form, owner)
    drafted = draft(form, services.offer, max_cost=services.settings.gateway_max_cost)
    pictures = await _decode(services, form.uploads())
    try:
        names = {**stored, **{pointer: picture.sha256 for pointer, picture in pictures.items()}}
        deadline = await services.call(services.store.now) + lifetime if lifetime else None
        job = new_job(services, drafted, names, owner=owner, key=key, deadline=deadline)
        submission = await services.call(_keep, services, list(pictures.values()), stored, job)
    finally:
        for picture in pictures.values():
            picture.close()
    if submission.created:
        services.doorbell.ring(job.id, job.queue, job.priority, job.trace)
        services.metrics.submitted.labels(job.request.method, source).inc()
    return submission


def new_job(
    services: Services,
    drafted: Draft,
    names: Names,
    *,
    owner: str,
    key: str | None = None,
    deadline: datetime | None = None,
) -> NewJob:
    """Return the job of a draft whose pictures are stored."""
    request = drafted.named(names)
    return NewJob(
        id=secrets.token_hex(16),
        owner=owner,
        queue=request.model,
        priority=drafted.priority,
        request=request,
        digest=drafted.digest(request),
        idempotency_key=key,
        webhook_url=drafted.webhook_url,
        max_active=services.ring.in_flight(owner),
        trace=services.tracing.here(),
        deadline=deadline,
    )


async def keep_pictures(services: Services, uploads: list[Upload]) -> Names:
    """Decode and store pictures; return their sha256 by pointer. Raises PictureRefused or Unavailable."""
    pictures = await _decode(services, uploads)
    try:
        await services.call(_put, services, list(pictures.values()))
        return {pointer: picture.sha256 for pointer, picture in pictures.items()}
    finally:
        for picture in pictures.values():
            picture.close()


async def _decode(services: Services, uploads: list[Upload]) -> dict[str, Decoded]:
    """Return the decoded pictures by pointer. Raises PictureRefused naming all that failed, or Unavailable."""
    if len(uploads) == 1:  # the usual case needs no task of its own
        results = [await _attempt(services, uploads[0])]
    else:
        results = await asyncio.gather(*(_attempt(services, upload) for upload in uploads))
    pictures: dict[str, Decoded] = {}
    faults: list[Fault] = []
    lost = False
    for upload, result in zip(uploads, results, strict=True):
        match result:
            case Decoded():
                pictures[upload.pointer] = result
            case Refused():
                faults.append(Fault(upload.pointer, str(result)))
            case DecoderLost():
                lost = True
    if not faults and not lost:
        return pictures
    for picture in pictures.values():
        picture.close()
    raise PictureRefused.of(faults) if faults else Unavailable("pictures cannot be decoded now")


async def _attempt(services: Services, upload: Upload) -> Decoded | Refused | DecoderLost:
    try:
        return await services.decoder.decode(upload)
    except (Refused, DecoderLost) as fault:
        return fault


def _put(services: Services, pictures: list[Decoded]) -> None:
    for picture in pictures:
        services.blobs.put(input_name(picture.sha256), picture.png(), content_type="image/png")


def _keep(services: Services, pictures: list[Decoded], stored: Names, job: NewJob) -> Submission:
    """Store the pictures, then the record: an accepted job always finds its pictures."""
    _put(services, pictures)
    keep(services, stored.items())
    return services.store.submit(job)
