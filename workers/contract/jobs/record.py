"""A job's record as Redis keeps it: a flat hash of strings, written by the scripts, read here."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from workers.contract.errors import UnreadableRecord
from workers.contract.jobs.models import Failure, Job, NewJob, Progress, Request, Result, State, from_millis, to_millis
from workers.contract.jobs.results import QueueEstimate
from workers.contract.jobs.stored import RECORD_VERSION, read_stored


def submission_fields(new: NewJob) -> tuple[str, ...]:
    """Return the arguments of `submit.lua` that describe a job, in the order of its GIVEN."""
    return (
        new.id,
        new.owner,
        new.queue,
        new.priority,
        new.request.method,
        batch_key(new.request),
        new.request.model_dump_json(),
        new.digest,
        new.idempotency_key or "",
        str(to_millis(new.deadline)) if new.deadline else "",
        " ".join(sorted(inputs(new.request))),
        duration_key(new.request),
        f"{work_units(new.request):.6f}",
        new.webhook_url or "",
        new.trace or "",
        str(RECORD_VERSION),
    )


def batch_key(request: Request) -> str:
    """Return what requests have in common that are worth denoising together: technique, base model and size.

    Those without pictures, which prepare a style, keep to themselves.
    """
    batch_key = f"{request.method} {request.model} {request.width}x{request.height}"
    return f"{batch_key} preparing" if request.prepares_style else batch_key


def duration_key(request: Request) -> str:
    """Return what jobs have in common that take equally long: a batch_key's, and the number of steps and pictures."""
    return f"{batch_key(request)} {request.steps} {request.num_images}"


def work_units(request: Request) -> float:
    """Return how much work a job is beside others of its technique and model: steps of a 512 x 512 picture."""
    return request.steps * request.num_images * request.width * request.height / 512**2


def inputs(request: Request) -> set[str]:
    """Return the sha256 of every picture that the request uses."""
    single = (request.content_image, request.control_image)
    return {*request.style_images, *(sha256 for sha256 in single if sha256)}


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """Return the hash that a script answers as field, value, field, value."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def accepted(new: NewJob, created: int) -> Job:
    """Return the job of the record that `submit.lua` has just made, at a reading of the clock of Redis."""
    return Job(
        id=new.id,
        owner=new.owner,
        queue=new.queue,
        priority=new.priority,
        state=State.QUEUED,
        request=new.request,
        created_at=from_millis(created),
        deadline=from_millis(to_millis(new.deadline)) if new.deadline else None,
        webhook_url=new.webhook_url,
        trace=new.trace,
    )


def parse_estimate(numbers: Sequence[int]) -> QueueEstimate:
    """Return the estimate of a script's answer: jobs before, milliseconds to start and end; -1 for unknown."""
    before, *millis = (int(number) if int(number) >= 0 else None for number in numbers)
    start, finish = (None if number is None else number / 1000 for number in millis)
    return QueueEstimate(before, start, finish)


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
        request=read_stored(Request, fields["request"]),
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
        preview=int(fields["preview"]) if "preview" in fields else None,
        progress=_progress_of(fields),
        result=read_stored(Result, fields["result"]) if "result" in fields else None,
        failure=read_stored(Failure, fields["failure"]) if "failure" in fields else None,
    )


def _progress_of(fields: Mapping[str, str]) -> Progress | None:
    """Return the progress; None for a stage of another release: the job is shown all the same."""
    try:
        return read_stored(Progress, fields["progress"]) if "progress" in fields else None
    except UnreadableRecord:
        return None
