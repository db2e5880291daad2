"""The way of a comparison from its form to its jobs: all are checked before the first is stored, all or none run."""

import hashlib
import json
import secrets
from collections.abc import Sequence

from app.auth.keyring import Caller
from app.dependencies import Services
from app.errors import Conflict, Fault, Invalid
from app.services.admission import admit, decoded, store
from app.services.comparisons.grid import Variant, expand
from app.services.stored_inputs import Names, resolve
from app.services.submit import build_job
from app.uploads.cost import check_total
from app.uploads.multipart import Form
from app.uploads.validate import validate, with_pictures
from workers.contract.jobs.admission import Admission, PutInputs
from workers.contract.jobs.comparisons import Cell, Comparison
from workers.contract.jobs.models import Job, StylizeRequest


async def compare(services: Services, form: Form, *, caller: Caller, key: str | None) -> Comparison:
    """Accept all the jobs that a form asks for, each counted as a request. Raises a Problem or a ContractError."""
    owner, asked = caller.owner, dict(form.texts)
    cells = expand(form)
    stored = [await resolve(services, cell.form, owner) for cell in cells]
    requests = [_validate(services, cell) for cell in cells]
    check_total(requests, services.settings.gateway_max_cost, "#/method")
    group_id = secrets.token_hex(16) if key is None else hashlib.sha256(f"{owner} {key}".encode()).hexdigest()
    known = await services.call(services.groups.get, group_id, owner)
    admission = Admission(0, None) if known else await _admit(services, caller, len(cells))
    async with decoded(services, form.uploads()) as pictures:
        sent = {pointer: picture.sha256 for pointer, picture in pictures.items()}
        digest = hashlib.sha256(json.dumps([asked, sorted(sent.items())], sort_keys=True).encode()).hexdigest()
        if known:
            return _same(known, digest)
        jobs = [
            build_job(services, cell.form, with_pictures(request, {**names, **_taken(cell.form, sent)}), owner=owner)
            for cell, request, names in zip(cells, requests, stored, strict=True)
        ]
        group = Comparison(
            id=group_id,
            owner=owner,
            digest=digest,
            cells=tuple(_cell(cell, job.id, one) for cell, job, one in zip(cells, jobs, requests, strict=True)),
            created_at=await services.call(services.store.now),
        )

        most = services.ring.in_flight(owner)

        def accept(put: PutInputs) -> Comparison:
            return _same(services.store.submit_comparison(group, jobs, put, max_active=most), digest)

        named = {pair for names in stored for pair in names.items()}
        accepted = await store(services, owner, pictures, accept, admission=admission, stored=named)
    if accepted == group:  # else the same request came twice at once
        _ring(services, jobs)
    return accepted


async def _admit(services: Services, caller: Caller, jobs: int) -> Admission:
    """Find out whether a caller may have a comparison, and count its jobs. Raises a Problem or a ContractError."""
    admission = await admit(services, caller.owner, jobs=jobs)
    await services.call(services.rates.count_jobs, caller, jobs, "#/method")
    return admission


def _same(group: Comparison, digest: str) -> Comparison:
    if group.digest != digest:
        raise Conflict("the Idempotency-Key was used before with another comparison")
    return group


def _taken(form: Form, sent: Names) -> Names:
    """Return those of the pictures sent that a cell's form has."""
    return {upload.pointer: sent[upload.pointer] for upload in form.uploads()}


def _validate(services: Services, cell: Variant) -> StylizeRequest:
    try:
        return validate(cell.form, services.capabilities, max_cost=services.settings.gateway_max_cost)
    except Invalid as invalid:
        raise type(invalid).of([Fault(f.pointer, f"{cell.label}: {f.detail}") for f in invalid.errors]) from invalid


def _cell(variant: Variant, job_id: str, request: StylizeRequest) -> Cell:
    return Cell(job_id=job_id, label=variant.label, method=request.method, seed=request.seed, strength=request.strength)


def _ring(services: Services, jobs: Sequence[Job]) -> None:
    for job in jobs:
        services.doorbell.ring(job.id, job.queue, job.priority, job.trace)
        services.metrics.submitted.labels(job.request.method, "comparison").inc()
