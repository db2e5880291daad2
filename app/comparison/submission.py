"""The way of a comparison from its form to its jobs: all are checked before the first is stored, all or none run."""

import hashlib
import json
import secrets
from collections.abc import Collection, Sequence

from app.comparison.cells import Ask, asks
from app.deps import Services
from app.errors import Conflict, Fault, Invalid
from app.intake.form import Form
from app.intake.request import Draft, draft
from app.references import Names, keep, resolved
from app.submission import keep_pictures, new_job
from workers.contract.errors import ContractError
from workers.contract.groups import Cell, Group
from workers.contract.job import Job, NewJob, Sha256


async def compare(services: Services, form: Form, *, owner: str, key: str | None) -> Group:
    """Accept all the jobs that a form asks for. Raises a Problem or a ContractError."""
    asked = dict(form.texts)
    cells = asks(form)
    stored = [await resolved(services, cell.form, owner) for cell in cells]
    drafts = [_draft(services, cell) for cell in cells]
    sent = await keep_pictures(services, form.uploads())
    digest = hashlib.sha256(json.dumps([asked, sorted(sent.items())], sort_keys=True).encode()).hexdigest()
    group_id = secrets.token_hex(16) if key is None else hashlib.sha256(f"{owner} {key}".encode()).hexdigest()
    known = await services.call(services.groups.get, group_id, owner)
    if known is None:
        jobs = [
            new_job(services, drafted, {**names, **_taken(cell.form, sent)}, owner=owner)
            for cell, drafted, names in zip(cells, drafts, stored, strict=True)
        ]
        made = await services.call(_submit, services, jobs, {pair for names in stored for pair in names.items()})
        group = Group(
            id=group_id,
            owner=owner,
            digest=digest,
            cells=tuple(_cell(cell, job) for cell, job in zip(cells, made, strict=True)),
            created_at=made[0].created_at,
        )
        known = await services.call(services.groups.save, group)
        if known.cells != group.cells:  # the same request came twice at once: the other one stays
            await services.call(_cancel, services, made)
        else:
            for job in jobs:
                services.doorbell.ring(job.id, job.queue, job.priority, job.trace)
                services.metrics.submitted.labels(job.request.method, "comparison").inc()
    if known.digest != digest:
        raise Conflict("the Idempotency-Key was used before with another comparison")
    return known


def _taken(form: Form, sent: Names) -> Names:
    """Return those of the pictures sent that a cell's form has."""
    return {upload.pointer: sent[upload.pointer] for upload in form.uploads()}


def _draft(services: Services, cell: Ask) -> Draft:
    try:
        return draft(cell.form, services.offer, max_cost=services.settings.gateway_max_cost)
    except Invalid as invalid:
        raise type(invalid).of([Fault(f.pointer, f"{cell.label}: {f.detail}") for f in invalid.errors]) from invalid


def _submit(services: Services, jobs: Sequence[NewJob], stored: Collection[tuple[str, Sha256]]) -> list[Job]:
    """Write all records, or cancel those written when one is refused."""
    keep(services, stored)
    made: list[Job] = []
    try:
        for job in jobs:
            made.append(services.store.submit(job).job)  # noqa: PERF401 - those made count when one is refused
    except ContractError:
        _cancel(services, made)
        raise
    return made


def _cancel(services: Services, jobs: Sequence[Job]) -> None:
    for job in jobs:
        services.store.cancel(job.id, job.owner)


def _cell(ask: Ask, job: Job) -> Cell:
    request = job.request
    return Cell(job_id=job.id, label=ask.label, method=request.method, seed=request.seed, strength=request.strength)
