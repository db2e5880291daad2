"""What can go wrong for a user of the client.

StylizeError
|-- ServiceAway         nobody answers at the address
|-- UnexpectedResponse  what answers does not speak as the service does
|-- RequestRefused      the service says no: status, type, detail, errors of its problem document
|   `-- Busy            ... for now: 429 or 503, also after some tries
|-- NotDoneInTime       the job goes on, the wait is over
|-- JobFailed           the job has failed
`-- JobCanceled         the job was canceled
"""

from collections.abc import Mapping
from typing import Any

from .models import JobView


class StylizeError(Exception):
    """Root of the tree; its text is one sentence for people."""


class ServiceAway(StylizeError):
    """Nobody answers at the address."""


class UnexpectedResponse(StylizeError):
    """What answers does not speak as the service does: another server, or a release that this client cannot read."""


class RequestRefused(StylizeError):
    """The service says no. `errors` names each field (a JSON pointer) and what is wrong with it."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.type = str(problem.get("type", "about:blank"))
        self.detail = str(problem.get("detail") or problem.get("title") or f"the service answered {status}")
        self.errors: list[dict[str, str]] = list(problem.get("errors", []))
        super().__init__(self.detail)


class Busy(RequestRefused):
    """The service takes no more for now."""


class NotDoneInTime(StylizeError):
    """The job goes on, the wait is over."""

    def __init__(self, job: JobView, seconds: float) -> None:
        super().__init__(f"job {job.id} is not done after {seconds:g} seconds; it is {job.state}")
        self.job = job


class JobFailed(StylizeError):
    """The job has failed."""

    def __init__(self, job: JobView) -> None:
        why = f"{job.error.code}: {job.error.detail}" if job.error else "for an unknown reason"
        super().__init__(f"job {job.id} failed: {why}")
        self.job = job


class JobCanceled(StylizeError):
    """The job was canceled."""

    def __init__(self, job: JobView) -> None:
        super().__init__(f"job {job.id} was canceled")
        self.job = job
