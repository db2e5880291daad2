"""A job's record as Redis keeps it: a flat hash of strings, written by the scripts, read here."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from workers.contract.errors import UnreadableRecord
from workers.contract.jobs.models import (
    PAYLOADS,
    Failure,
    Job,
    JobKind,
    Payload,
    PrecomputeRequest,
    Progress,
    Result,
    State,
    StylizeRequest,
    from_millis,
    to_millis,
)
from workers.contract.jobs.stored import RECORD_VERSION, read_stored

VERSIONS: dict[JobKind, int] = {"stylize": 1}
"""The version of a record by its kind. Release 0.1.0 knows version 1 and would draw pictures for every kind."""


def submission_fields(job: Job) -> tuple[str, ...]:
    """Return the arguments of `submit.lua` that describe a job, in the order of its GIVEN."""
    request = job.request
    return (
        job.id,
        job.owner,
        job.queue,
        job.priority,
        request.method,
        batch_key(request),
        request.model_dump_json(),
        job.digest,
        job.idempotency_key or "",
        str(to_millis(job.deadline)) if job.deadline else "",
        " ".join(sorted(request.inputs)),
        duration_key(request),
        f"{work_units(request):.6f}",
        job.webhook_url or "",
        job.trace or "",
        str(VERSIONS.get(job.kind, RECORD_VERSION)),
        job.kind,
        job.comparison or "",
    )


def batch_key(request: Payload) -> str:
    """Return what requests have in common that are worth denoising together: technique, base model and size.

    Kinds without pictures keep to themselves.
    """
    if isinstance(request, StylizeRequest):
        return f"{request.method} {request.model} {request.width}x{request.height}"
    return f"{request.kind} {request.method} {request.model}"


def duration_key(request: Payload) -> str:
    """Return what jobs have in common that take equally long: their batch key, number of steps and of pictures."""
    steps = request.steps if isinstance(request, StylizeRequest | PrecomputeRequest) else 0
    return f"{batch_key(request)} {steps} {request.batch_size}"


def work_units(request: Payload) -> float:
    """Return how much work a job is beside others of its technique and model: steps of a 512 x 512 picture."""
    if not isinstance(request, StylizeRequest):
        return 0.0
    return request.steps * request.num_images * request.width * request.height / 512**2


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """Return the hash that a script answers as field, value, field, value."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def accepted(job: Job, created: int) -> Job:
    """Return the job as `submit.lua` has just recorded it, at a reading of the clock of Redis."""
    deadline = from_millis(to_millis(job.deadline)) if job.deadline else None
    return job.model_copy(update={"created_at": from_millis(created), "deadline": deadline})


def job_of(fields: Mapping[str, str]) -> Job:
    """Return the job of a record; what another release added to it is left aside. Raises UnreadableRecord."""
    try:
        return _job_of(fields)
    except (KeyError, ValueError, OverflowError, UnreadableRecord) as fault:
        raise UnreadableRecord(
            f"the record of job {fields.get('id', '?')}, which is {fields.get('state', 'in no state')}, "
            f"cannot be read by this release ({type(fault).__name__})",
            fields.get("owner"),
        ) from fault


def _job_of(fields: Mapping[str, str]) -> Job:

    def moment(name: str) -> datetime | None:
        return from_millis(int(fields[name])) if name in fields else None

    return Job(
        id=fields["id"],
        owner=fields["owner"],
        queue=fields["queue"],
        priority="batch" if fields["priority"] == "batch" else "interactive",
        state=State(fields["state"]),
        request=_payload_of(fields),
        digest=fields["digest"],
        idempotency_key=fields.get("key") or None,
        token=int(fields["token"]),
        attempts=int(fields["attempts"]),
        worker=fields.get("worker"),
        created_at=from_millis(int(fields["created"])),
        started_at=moment("started"),
        finished_at=moment("finished"),
        lease_until=moment("lease"),
        deadline=moment("deadline"),
        webhook_url=fields.get("webhook"),
        trace=fields.get("trace"),
        comparison=fields.get("comparison"),
        preview=int(fields["preview"]) if "preview" in fields else None,
        progress=_progress_of(fields),
        result=read_stored(Result, fields["result"]) if "result" in fields else None,
        failure=read_stored(Failure, fields["failure"]) if "failure" in fields else None,
    )


def _payload_of(fields: Mapping[str, str]) -> Payload:
    """Return what is asked for. Release 0.1.0 wrote no kind: there a request for no picture prepares a style."""
    prepares = "job_kind" not in fields and json.loads(fields["request"]).get("num_images") == 0
    kind = fields.get("job_kind", "precompute" if prepares else "stylize")
    return read_stored(PAYLOADS[kind], fields["request"])


def _progress_of(fields: Mapping[str, str]) -> Progress | None:
    """Return the progress; None for a stage of another release: the job is shown all the same."""
    try:
        return read_stored(Progress, fields["progress"]) if "progress" in fields else None
    except UnreadableRecord:
        return None
