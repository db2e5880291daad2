"""One HTTP request and its response, without any input or output of its own.

An operation is a generator: it yields an HTTPRequest, a Sleep or a BlockingCall, is sent what came of it, and returns
what the caller wanted. The clients run operations, one with blocking and one with asynchronous HTTP.
"""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

import httpx2
from pydantic import ValidationError

from .errors import Busy, RequestRefused, ServiceAway, StylizeError, UnexpectedResponse
from .models import Answer

V = TypeVar("V", bound=Answer)
T = TypeVar("T")

VERSION = "/v1"
"""Before each path: within it the service adds, and changes nothing."""
TRIES = 4
LONGEST_BUSY = 30.0
"""Seconds that the client waits at most before it asks a busy service again."""


@dataclass(frozen=True)
class HTTPRequest:
    """One HTTP request. `fields` and `files` make a multipart form."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[tuple[str, tuple[str, bytes]]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """Return what httpx2 wants of it; a form is multipart also when it holds no file."""
        form = [*((name, (None, text.encode())) for name, text in self.fields.items()), *self.files]
        return {
            "method": self.method,
            "url": VERSION + self.path,
            "params": self.query,
            "headers": self.headers,
            "files": form or None,
        }


@dataclass(frozen=True)
class HTTPResponse:
    """The response to a request; `status` is 0 when there was none, `content` then says why."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def missing(cls, url: httpx2.URL, fault: httpx2.RequestError) -> "HTTPResponse":
        """Return that there was no response, and why."""
        return cls(0, f"no answer from {url}: {fault or type(fault).__name__}".encode())


@dataclass(frozen=True)
class Sleep:
    """Nothing to do for some seconds."""

    seconds: float


@dataclass(frozen=True)
class BlockingCall:
    """A call that waits for a disk; the asynchronous client makes it in a thread."""

    function: Callable[[], object]


Operation = Generator[HTTPRequest | Sleep | BlockingCall, Any, T]


def call(function: Callable[[], T]) -> Operation[T]:
    """Have a call made that waits for a disk."""
    result: T = yield BlockingCall(function)
    return result


def fetch(answer: type[V], request: HTTPRequest) -> Operation[V]:
    """Send a request and read its answer."""
    return parse(answer, (yield from send(request)))


def send(request: HTTPRequest) -> Operation[HTTPResponse]:
    """Send a request, again while the service is away or busy. Raises RequestRefused, Busy, ServiceAway."""
    tries = 0
    while True:
        response: HTTPResponse = yield request
        tries += 1
        if 200 <= response.status < 300:
            return response
        if response.status not in (0, 429, 503) or tries >= TRIES:
            raise build_error(response)
        wanted = response.headers.get("retry-after", "")
        yield Sleep(min(float(wanted) if wanted.isdecimal() else 0.1 * 2**tries, LONGEST_BUSY))


def build_error(response: HTTPResponse) -> StylizeError:
    """Return the error that a response stands for."""
    if not response.status:
        return ServiceAway(response.content.decode())
    try:
        document = json.loads(response.content)
    except ValueError:
        document = {}
    problem = document if isinstance(document, dict) else {}
    kind = Busy if response.status in (429, 503) else RequestRefused
    return kind(response.status, problem)


def parse(answer: type[V], response: HTTPResponse) -> V:
    """Return the answer that a response holds. Raises UnexpectedResponse."""
    try:
        return answer.model_validate_json(response.content)
    except ValidationError as fault:
        what = fault.errors()[0]
        place = ".".join(map(str, what["loc"])) or "the document"
        raise UnexpectedResponse(f"the answer is no {answer.__name__}: {place}: {what['msg']}") from fault


def build_path(*parts: str | int) -> str:
    """Return a path of the service; ids are quoted."""
    return "".join(f"/{quote(str(part), safe='')}" for part in parts)


def get_query(url: str) -> dict[str, str]:
    """Return the query of an address that the service gave: its signature counts, its host may be another than ours."""
    pairs = (pair.split("=", 1) for pair in urlsplit(url).query.split("&") if "=" in pair)
    return {name: unquote(value) for name, value in pairs}


def authorization(key: str | None) -> dict[str, str]:
    """Return the headers that a key asks for."""
    return {"Authorization": f"Bearer {key}"} if key else {}
