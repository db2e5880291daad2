"""`POST /stylize`: ask for pictures."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from app import dependencies
from app.api.headers import CANCEL_AFTER, KEY_PARAMETER, PARAMETERS, PREFER, cancel_after, idempotency_key
from app.api.problems import BUSY, problem_docs
from app.api.responses import submission_response
from app.errors import Conflict, InsufficientStorage, Invalid
from app.schemas.job import JobView
from app.uploads.receive import REFUSALS


class Direct(APIRoute):
    """A route that FastAPI documents; the endpoint itself takes the request and gives the answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint: there are no dependencies to solve and nothing to validate before it."""
        return self.endpoint


router = APIRouter(tags=["stylize"], route_class=Direct)


@router.post(
    "/stylize",
    summary="Ask for pictures in the style of a reference",
    status_code=202,
    response_model=JobView,
    openapi_extra={"parameters": [KEY_PARAMETER, *PARAMETERS]},
    responses=problem_docs(*REFUSALS, Conflict, Invalid, *BUSY, InsufficientStorage)
    | {
        200: {"description": "Done within the time that `Prefer: wait=n` gave", "model": JobView},
        202: {
            "description": "Accepted; `Location` is the job",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
    },
)
async def stylize(request: Request) -> Response:
    """Everything is checked before anything is stored; an accepted job is on disk when this answers.

    Files need multipart/form-data. Without them, as with a saved style, a recipe or pictures named by the sha256 that
    the service has them by, the same fields may come as application/x-www-form-urlencoded or application/json.
    """
    key, owner = idempotency_key(request), await dependencies.owner(request)
    bodies, schema, submitter, jobs, waiter = dependencies.get_stylize_parts(request)
    lifetime = cancel_after(request.headers.get(CANCEL_AFTER))
    async with bodies.receive_form(request, schema) as form:
        submission = await submitter.submit(form, owner=owner, key=key, source="api", lifetime=lifetime)
    return await submission_response(submission, request.headers.get(PREFER), jobs, waiter)
