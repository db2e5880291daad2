"""Styles prepared in advance: a job without pictures for each method, and how far these are."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal

from app.capabilities import Capabilities
from app.dependencies import Services
from app.errors import Fault, Invalid
from app.schemas.style import PrecomputeView, StyleView
from app.services.styles import outdated, style_view, used
from app.uploads.cost import check_total, cost
from workers.contract.jobs.models import Job, PrecomputeRequest, State
from workers.contract.runtime.tracing import current_traceparent
from workers.contract.spec import Spec
from workers.contract.styles.precompute import precompute_key
from workers.contract.styles.store import Style
from workers.techniques import registry

TRUSTED = timedelta(seconds=5)
"""How long a preparation that has just succeeded is believed before its worker tells that it still has it."""


def name_of(request: PrecomputeRequest) -> str:
    """Return the name of its newest job among those of its style."""
    return f"{request.method} {request.model}"


def precomputable(capabilities: Capabilities, style: Style) -> list[PrecomputeRequest]:
    """Return all preparations of a style that this host can do."""
    fitting = (spec for spec in capabilities.specs if spec.inputs.references[1] and not outdated(style, spec))
    return [
        precompute_request(capabilities, style, spec, model)
        for spec in fitting
        for model in capabilities.models_of(spec)
    ]


def precompute_request(capabilities: Capabilities, style: Style, spec: Spec, model: str) -> PrecomputeRequest:
    """Return the preparation of a style for a technique on a model that it runs on."""
    defaults = capabilities.defaults_of(spec, model)
    assert defaults is not None
    references = used(style, spec.inputs.references[1])
    return PrecomputeRequest(
        method=spec.name,
        model=model,
        style_images=tuple(reference.sha256 for reference in references),
        style_weights=tuple(reference.weight for reference in references),
        seed=0,
        params=spec.params().model_dump(mode="json"),
        **dict(defaults),
    )


def asked(
    services: Services, style: Style, methods: Sequence[str], model: str | None, pointer: str
) -> list[PrecomputeRequest]:
    """Return the preparations of a style for some methods on a model. Raises Invalid naming all that cannot be."""
    chosen = model or services.capabilities.default_model
    if chosen not in services.capabilities.bases:
        raise Invalid.of([Fault("#/model", f"must be one of {', '.join(services.capabilities.bases)}")])
    found: dict[str, PrecomputeRequest] = {}
    faults = []
    for method in methods:
        try:
            one = _asked(services, style, method, chosen)
            found[name_of(one)] = one
        except ValueError as impossible:
            faults.append(Fault(pointer, str(impossible)))
    if not methods:
        faults.append(Fault(pointer, "is required: the methods to prepare the style for"))
    if faults:
        raise Invalid.of(faults)
    check_total(list(found.values()), services.settings.gateway_max_cost, pointer)
    return list(found.values())


def _asked(services: Services, style: Style, method: str, model: str) -> PrecomputeRequest:
    """Return one preparation. Raises ValueError saying why it cannot be."""
    capabilities = services.capabilities
    try:
        spec = registry.spec(method)
    except KeyError:
        raise ValueError(f"must be among {', '.join((*registry.names(), *capabilities.aliases))}") from None
    if not spec.inputs.references[1]:
        raise ValueError(f"{spec.name} takes no style image: there is nothing to prepare")
    if said := outdated(style, spec):
        raise ValueError(said)
    if model not in capabilities.models_of(spec):
        served = ", ".join(capabilities.models_of(spec)) or "none of the models served here"
        raise ValueError(f"{spec.name} does not run on {model}; it runs on {served}")
    one = precompute_request(capabilities, style, spec, model)
    most = services.settings.gateway_max_cost
    if cost(one, spec) > most:
        raise ValueError(f"preparing {spec.name} costs {cost(one, spec):.0f}; at most {most:.0f} is accepted")
    return one


def begin(services: Services, style: Style, preparations: Sequence[PrecomputeRequest]) -> list[Job]:
    """Submit a job for each preparation that is cold, all or none; return the new ones, still to be rung for.

    Talks to the store: call it in a thread. Raises ContractError.
    """
    [jobs] = services.preparations.jobs([style.id])
    views = _views(services, [(one, jobs.get(name_of(one))) for one in preparations])
    cold = [one for one, view in zip(preparations, views, strict=True) if view.state == "cold"]
    new = [_job(services, style, one, after=jobs.get(name_of(one), "")) for one in cold]
    ids = services.store.submit_all(new, max_active=services.ring.in_flight(style.owner))
    if ids:
        longer = 2 * services.settings.retention_hours * 3600  # than the jobs, whose keys name those before them
        services.preparations.begun(
            style.id, {name_of(one): job_id for one, job_id in zip(cold, ids, strict=True)}, longer
        )
    return [job for job, job_id in zip(new, ids, strict=True) if job.id == job_id]


def notify_workers(services: Services, jobs: Sequence[Job]) -> None:
    """Wake workers for new jobs."""
    for job in jobs:
        services.doorbell.ring(job.id, job.queue, job.priority, job.trace)
        services.metrics.submitted.labels(job.request.method, "style").inc()


def cancel(services: Services, style: Style) -> None:
    """Cancel what still prepares a style. Talks to the store: call it in a thread."""
    [jobs] = services.preparations.jobs([style.id])
    for job_id in jobs.values():
        services.store.cancel(job_id, style.owner)


def style_views(services: Services, styles: Sequence[Style]) -> list[StyleView]:
    """Return what callers see of styles. Talks to the store: call it in a thread."""
    jobs = services.preparations.jobs([style.id for style in styles])
    known = [precomputable(services.capabilities, style) for style in styles]
    pairs = [(one, own.get(name_of(one))) for ones, own in zip(known, jobs, strict=True) for one in ones]
    views = iter(_views(services, pairs))
    return [
        style_view(style, services.links, list(islice(views, len(ones))))
        for style, ones in zip(styles, known, strict=True)
    ]


def _job(services: Services, style: Style, one: PrecomputeRequest, *, after: str) -> Job:
    """Return the job of a preparation. Its key, which no caller can send, makes simultaneous requests one job."""
    return Job(
        id=secrets.token_hex(16),
        owner=style.owner,
        queue=one.model,
        priority="batch",
        request=one,
        digest=precompute_key(one),
        idempotency_key=f"prepare {style.id} {precompute_key(one)} {after}",
        trace=current_traceparent(),
    )


def _views(services: Services, preparations: Sequence[tuple[PrecomputeRequest, str | None]]) -> list[PrecomputeView]:
    """Return how far some preparations are, each given with the id of its newest job."""
    workers = [worker.id for worker in services.store.workers()]
    count_workers_with = services.preparations.count_workers_with(
        workers, [precompute_key(one) for one, _ in preparations]
    )
    jobs = services.store.many(job_id for _, job_id in preparations if job_id)
    now = services.store.now()
    views = []
    for (one, job_id), count in zip(preparations, count_workers_with, strict=True):
        job = jobs.get(job_id or "")
        state = "ready" if count else _state(job, now)
        method, model = one.method, one.model
        views.append(
            PrecomputeView(method=method, model=model, state=state, workers=count, job=job.id if job else None)
        )
    return views


def _state(job: Job | None, now: datetime) -> Literal["cold", "preparing", "ready"]:
    """Return how far a preparation is of which no worker tells, by its newest job."""
    if job is None or job.finished_at is None:
        return "cold" if job is None else "preparing"
    return "ready" if job.state is State.SUCCEEDED and now - job.finished_at < TRUSTED else "cold"
