"""The gateway's errors: RFC 9457 problems that carry their own status.

Problem                        type, title, status, detail, errors[{pointer, detail}], headers
|-- Malformed            400   the request is not HTTP, or its body not well-formed multipart/form-data
|-- Unauthorized         401   no valid API key
|-- Forbidden            403   the key does not open this
|-- NotFound             404   no such job, picture or page; also another caller's job
|-- MethodNotAllowed     405   the page exists, the verb does not
|-- BodyTimeout          408   the body took too long to arrive
|-- Conflict             409   the Idempotency-Key was used with another request
|-- RecordUnreadable     409   what is stored is damaged, or of another release
|-- NotFinished          409   this can be done once the job is final
|-- TooLarge             413   the body, a file or a field is too large, or there are too many parts
|-- UnsupportedMedia     415   the body or a picture is of a type we do not take
|-- RangeNotSatisfiable  416   the file has none of the bytes asked for
|-- Misdirected          421   the request names a host that is not ours
|-- Invalid              422   fields are missing, unknown or out of bounds
|   `-- PictureRefused   422   a picture breaks a rule
|-- HeadersTooLarge      431   the request's headers are too large
|-- TooManyJobs          429   the queue is full
|-- TooManyInFlight      429   the key has too many unfinished jobs
|-- RateLimited          429   the key asks too often
|-- TooManyStreams       429   too many wait for jobs at the same time
|-- Internal             500   our fault
|-- Unavailable          503   Redis, the blob store or the decoder is away, or we are too busy
`-- InsufficientStorage  507   the disk is nearly full
    `-- TooMuchStored    507   the owner's jobs and styles would name too many bytes of pictures

NothingNew               204   no error: a stream of events that has told all
AnswerBroken                   an answer that has begun cannot be sent to its end
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

TYPE_PREFIX = "urn:stylize:problem:"


class Fault(NamedTuple):
    """One thing that is wrong with a request: where (a JSON pointer as URI fragment, #/prompt) and what."""

    pointer: str
    detail: str


def encodable(text: str) -> str:
    """Return a text that can be sent: half a surrogate pair, as JSON may hold, is spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


class Problem(Exception):
    """Root of the tree; the body of the answer is made of it."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, *, errors: Sequence[Fault] = (), headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = encodable(detail)
        self.errors = tuple(Fault(encodable(fault.pointer), encodable(fault.detail)) for fault in errors)
        self.headers = dict(headers or {})

    def body(self) -> dict[str, object]:
        """Return the members of the problem document."""
        document: dict[str, object] = {
            "type": TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = [fault._asdict() for fault in self.errors]
        return document


class Malformed(Problem):
    """The request is not HTTP, or its body not well-formed multipart/form-data."""

    status, code, title = 400, "malformed-request", "The request is malformed"


class Unauthorized(Problem):
    """The request has no API key, or not a valid one."""

    status, code, title = 401, "unauthorized", "An API key is needed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="stylize"'})


class Forbidden(Problem):
    """The key is valid but lacks the scope."""

    status, code, title = 403, "forbidden", "The key does not allow this"


class NotFound(Problem):
    """There is no such thing, or it is not the caller's."""

    status, code, title = 404, "not-found", "Not found"


class MethodNotAllowed(Problem):
    """The page exists, the verb does not."""

    status, code, title = 405, "method-not-allowed", "Method not allowed"


class BodyTimeout(Problem):
    """The body took too long to arrive."""

    status, code, title = 408, "body-timeout", "The body took too long to arrive"


class Conflict(Problem):
    """The Idempotency-Key was used with another request."""

    status, code, title = 409, "idempotency-conflict", "The Idempotency-Key belongs to another request"


class RecordUnreadable(Problem):
    """What is stored is damaged, or of a release whose records this one does not know."""

    status, code, title = 409, "unreadable-record", "This release cannot read the record"


class NotFinished(Problem):
    """This can be done once the job is final."""

    status, code, title = 409, "not-finished", "The job is not finished"


class TooLarge(Problem):
    """The body, a file or a field is too large, or there are too many parts."""

    status, code, title = 413, "too-large", "The request is too large"


class UnsupportedMedia(Problem):
    """The body or a picture is of a type we do not take."""

    status, code, title = 415, "unsupported-media", "The media type is not supported"


class RangeNotSatisfiable(Problem):
    """The file has none of the bytes asked for."""

    status, code, title = 416, "range-not-satisfiable", "The range cannot be served"

    def __init__(self, size: int) -> None:
        super().__init__(f"the file has {size} bytes", headers={"Content-Range": f"bytes */{size}"})


class Misdirected(Problem):
    """The request names a host that is not ours."""

    status, code, title = 421, "misdirected", "The host is not served here"


class Invalid(Problem):
    """Fields are missing, unknown or out of bounds."""

    status, code, title = 422, "invalid-request", "The request is invalid"

    @classmethod
    def of(cls, errors: Sequence[Fault]) -> "Invalid":
        """Return the problem that names all faults."""
        return cls("; ".join(f"{fault.pointer[2:]}: {fault.detail}" for fault in errors), errors=errors)


class PictureRefused(Invalid):
    """A picture breaks a rule."""

    code, title = "picture-refused", "A picture was refused"


class HeadersTooLarge(Problem):
    """The request's headers are too large."""

    status, code, title = 431, "headers-too-large", "The request headers are too large"


class TooManyJobs(Problem):
    """The queue takes no more jobs now."""

    status, code, title = 429, "queue-full", "The queue is full"


class TooManyInFlight(Problem):
    """The key has as many unfinished jobs as it may have."""

    status, code, title = 429, "too-many-in-flight", "Too many unfinished jobs"


class RateLimited(Problem):
    """The key asks for work more often than it may."""

    status, code, title = 429, "rate-limited", "Too many requests"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class TooManyStreams(Problem):
    """Too many wait for jobs at the same time, the caller or all together."""

    status, code, title = 429, "too-many-streams", "Too many open streams"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "5"})


class NothingNew(Exception):
    """All has been told: ends the reconnecting of an event stream with 204."""


class AnswerBroken(Exception):
    """An answer that has begun cannot be sent to its end; the log has said why."""


class Internal(Problem):
    """Our fault; the text says nothing of the inside. `instance` names the request where the log tells more of it."""

    status, code, title = 500, "internal", "Internal error"

    def __init__(self, detail: str, *, instance: str | None = None) -> None:
        super().__init__(detail)
        self.instance = instance

    def body(self) -> dict[str, object]:
        """Return the members of the problem document."""
        return super().body() | ({"instance": self.instance} if self.instance else {})


class Unavailable(Problem):
    """Something we need is away, or we are too busy; try again."""

    status, code, title = 503, "unavailable", "Temporarily unavailable"

    def __init__(self, detail: str, *, retry_after: float = 2.0, errors: Sequence[Fault] = ()) -> None:
        super().__init__(detail, errors=errors, headers={"Retry-After": str(math.ceil(retry_after))})


class InsufficientStorage(Problem):
    """The disk has no room for pictures; the host has to make some."""

    status, code, title = 507, "insufficient-storage", "There is no room for pictures"


class TooMuchStored(InsufficientStorage):
    """The owner's jobs and styles would name too many bytes of pictures."""

    code, title = "storage-quota", "Too many bytes of pictures are kept"
