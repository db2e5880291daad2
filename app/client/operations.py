"""What a client asks the service and how it takes the answers, without any input or output of its own.

An exchange is a generator: it yields a Call or a Pause, is sent the Answer to a call, and returns what the caller
wanted. `app.client` runs exchanges, once with blocking and once with asynchronous HTTP.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import BaseModel

from app.client.errors import Busy, JobCanceled, JobFailed, NotDoneInTime, RequestRefused, ServiceAway, StylizeError
from app.schemas.job import JobsView, JobView, MethodsView
from workers.contract.jobs.models import OutputFormat, Priority, State

V = TypeVar("V", bound=BaseModel)
T = TypeVar("T")

FIRST_LOOK, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two looks at a job: they grow, so that short jobs are noticed soon and long ones cost little."""
TRIES = 4
GONE = 404
LONGEST_BUSY = 30.0

File = Path | str | bytes
"""A picture: the path of a file, or its bytes."""


class StylizeFields(TypedDict, total=False):
    """What `POST /stylize` takes beside the method; see its documentation."""

    prompt: str
    negative_prompt: str
    style_images: Sequence[File]
    style_id: str
    style_weights: Sequence[float]
    content_image: File
    control_image: File
    seed: int
    num_images: int
    width: int
    height: int
    steps: int
    guidance_scale: float
    strength: float
    model: str
    params: Mapping[str, Any]
    output_format: OutputFormat
    priority: Priority
    webhook_url: str
    cancel_after: str
    idempotency_key: str


@dataclass(frozen=True)
class HTTPRequest:
    """One HTTP request."""

    verb: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[tuple[str, tuple[str, bytes]]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HTTPResponse:
    """The answer to a call; `status` is 0 when there was none, `content` then says why."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sleep:
    """Nothing to ask for some seconds."""

    seconds: float


Operation = Generator[HTTPRequest | Sleep, HTTPResponse, T]


def submit(
    method: str | None, asked: StylizeFields, recipe: Mapping[str, Any] | File | None = None
) -> Operation[JobView]:
    """Ask for pictures. Tried again while the service is away or busy: one key makes it one job."""
    fields = {name: text_of(value) for name, value in asked.items() if name not in NOT_FIELDS}
    files = [part for name in FILES for part in files_of(name, asked)]
    if method is not None:
        fields["method"] = method
    if isinstance(recipe, Mapping):
        fields["recipe"] = json.dumps(recipe)
    elif recipe is not None:
        files.append(("recipe", _file(recipe, "recipe")))
    headers = {"Idempotency-Key": asked.get("idempotency_key") or uuid.uuid4().hex}
    if "cancel_after" in asked:
        headers["Cancel-After"] = asked["cancel_after"]
    answer = yield from answered(HTTPRequest("POST", "/stylize", fields=fields, files=files, headers=headers))
    return read(JobView, answer)


def job(job_id: str) -> Operation[JobView]:
    """Look at a job."""
    return read(JobView, (yield from answered(HTTPRequest("GET", f"/jobs/{quote(job_id, safe='')}"))))


def jobs(state: State | None, limit: int, cursor: str | None) -> Operation[JobsView]:
    """Look at a page of jobs."""
    query = {"limit": str(limit)} | ({"state": state} if state else {}) | ({"cursor": cursor} if cursor else {})
    return read(JobsView, (yield from answered(HTTPRequest("GET", "/jobs", query=query))))


def methods() -> Operation[MethodsView]:
    """Look at what the service offers."""
    return read(MethodsView, (yield from answered(HTTPRequest("GET", "/methods"))))


def cancel(job_id: str) -> Operation[JobView]:
    """Cancel a job."""
    return read(JobView, (yield from answered(HTTPRequest("DELETE", f"/jobs/{quote(job_id, safe='')}"))))


def wait(job_id: str, seconds: float | None, seen: Callable[[JobView], object]) -> Operation[JobView]:
    """Look at a job until it is done; `seen` gets each look. Raises JobFailed, JobCanceled, NotDoneInTime."""
    until = None if seconds is None else time.monotonic() + seconds
    pause = FIRST_LOOK
    while True:
        current = yield from job(job_id)
        seen(current)
        if current.state.final:
            return _succeeded(current)
        if until is not None and time.monotonic() + pause > until:
            raise NotDoneInTime(current, seconds or 0.0)
        yield Sleep(pause)
        pause = min(pause * 1.3, LONGEST_PAUSE)


def pictures(done: JobView) -> Operation[list[bytes]]:
    """Fetch the pictures of a job, each checked against its sha256."""
    found = []
    for number, image in enumerate(done.images):
        # The signature of the address counts, its host may be another than the one we reach the service by.
        query = dict(pair.split("=", 1) for pair in urlsplit(image.url).query.split("&") if pair)
        answer = yield from answered(HTTPRequest("GET", f"/jobs/{done.id}/images/{number}", query=query))
        if hashlib.sha256(answer.content).hexdigest() != image.sha256:
            raise StylizeError(f"picture {number} of job {done.id} arrived damaged")
        found.append(answer.content)
    return found


def preview(job_id: str) -> Operation[bytes | None]:
    """Fetch what a job is becoming; None when there is nothing to see, or not any more."""
    current = yield from job(job_id)
    if current.preview is None:
        return None
    query = dict(pair.split("=", 1) for pair in urlsplit(current.preview).query.split("&"))
    try:
        answer = yield from answered(HTTPRequest("GET", f"/jobs/{current.id}/preview", query=query))
    except RequestRefused as refused:
        if refused.status != GONE:
            raise
        return None
    return answer.content


def answered(call: HTTPRequest) -> Operation[HTTPResponse]:
    """Make a call, again while the service is away or busy. Raises RequestRefused, Busy, ServiceAway."""
    tries = 0
    while True:
        answer = yield call
        tries += 1
        if 200 <= answer.status < 300:
            return answer
        if answer.status not in (0, 429, 503) or tries >= TRIES:
            raise _failure(answer)
        yield Sleep(min(float(_header(answer, "retry-after") or 0.1 * 2**tries), LONGEST_BUSY))


def _failure(answer: HTTPResponse) -> StylizeError:
    if not answer.status:
        return ServiceAway(answer.content.decode())
    try:
        document = json.loads(answer.content)
    except ValueError:
        document = {}
    problem = document if isinstance(document, dict) else {}
    kind = Busy if answer.status in (429, 503) else RequestRefused
    return kind(answer.status, problem)


def _header(answer: HTTPResponse, name: str) -> str | None:
    found = answer.headers.get(name)
    return found if found and found.isdecimal() else None


def read(kind: type[V], answer: HTTPResponse) -> V:
    """Return the answer's document; what a newer service adds is no matter."""
    return kind.model_validate_json(answer.content, extra="ignore")


def _succeeded(done: JobView) -> JobView:
    if done.state is State.FAILED:
        raise JobFailed(done)
    if done.state is State.CANCELED:
        raise JobCanceled(done)
    return done


FILES = {"style_images": "style_image", "content_image": "content_image", "control_image": "control_image"}
NOT_FIELDS = frozenset({*FILES, "cancel_after", "idempotency_key"})


def files_of(name: str, asked: StylizeFields) -> list[tuple[str, tuple[str, bytes]]]:
    """Return the parts of a form that hold the pictures of a field."""
    given: Any = asked.get(name)
    several = given if isinstance(given, Sequence) and not isinstance(given, str | bytes) else [given]
    return [(FILES[name], _file(one, name)) for one in several if one is not None]


def _file(given: File, name: str) -> tuple[str, bytes]:
    return (name, given) if isinstance(given, bytes) else (Path(given).name, Path(given).read_bytes())


def text_of(value: object) -> str:
    """Return a value as the text of a form's field."""
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)
