"""`GET /jobs/{id}/events`: follow a job as it happens."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse

from app.api.jobs import JobId
from app.api.problems import documented
from app.dependencies import GatewayDep, OwnerDep
from app.errors import Invalid, NotFound, NothingNew, TooManyStreams
from app.schemas.job import JobView
from app.services.job_events import EventStream, identity_of
from app.services.jobs import get_owned_job, seen

router = APIRouter(tags=["jobs"])


async def stream(
    job_id: JobId,
    services: GatewayDep,
    owner: OwnerDep,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> AsyncIterator[EventStream]:
    """Yield the stream of the caller's job. Raises NotFound, TooManyStreams, or NothingNew when all has been told."""
    job = await services.call(lambda: seen(services, get_owned_job(services, job_id, owner)))
    if job.state.final and identity_of(job) == last_event_id:
        raise NothingNew
    with services.watch.watching(job_id, owner) as observer:
        yield EventStream(services, job_id, owner, observer, last_event_id)


@router.get(
    "/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses=documented(NotFound, Invalid, TooManyStreams)
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
        yield event  # type: ignore[misc]  # the annotation is the documentation's: what the events carry
