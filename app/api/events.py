"""`GET /jobs/{id}/events`: follow a job as it happens."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.api.jobs import JobId
from app.api.problems import problem_docs
from app.dependencies import EventsDep, OwnerDep
from app.errors import Invalid, NotFound, TooManyStreams
from app.schemas.job import JobView
from app.services.job_events import EventStream, JobEvent

router = APIRouter(tags=["jobs"])

EVENT = "job"
HEARTBEAT = "alive"
RETRY_MILLISECONDS = 1000


async def stream(
    job_id: JobId,
    events: EventsDep,
    owner: OwnerDep,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> AsyncIterator[EventStream]:
    """Yield the stream of the caller's job. Raises NotFound, TooManyStreams, or NothingNew when all has been told."""
    async with events.open(job_id, owner, last_event_id) as opened:
        yield opened


@router.get(
    "/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses=problem_docs(NotFound, Invalid, TooManyStreams)
    | {
        200: {"description": "Events named `job`; the data of each is the whole job as `GET /jobs/{id}` shows it"},
        204: {"description": "`Last-Event-ID` is that of the final state: there is nothing to come back for"},
    },
)
async def read_events(stream: Annotated[EventStream, Depends(stream)]) -> AsyncIterable[JobView]:
    """Server-sent events: a full snapshot at the start and at each change, the last when the job is final.

    Comments in between keep the connection alive. A stream that was cut is taken up with `Last-Event-ID`.
    """
    async for event in stream.events():
        yield sent_event(event)  # type: ignore[misc]  # the annotation is the documentation's: what the events carry


def sent_event(event: JobEvent | None) -> ServerSentEvent:
    """Return an event as it is sent; a comment as a sign of life."""
    if event is None:
        return ServerSentEvent(comment=HEARTBEAT)
    return ServerSentEvent(event=EVENT, id=event.id, raw_data=event.job.model_dump_json(), retry=RETRY_MILLISECONDS)
