"""`POST /stylize`: ask for pictures."""

import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from app import dependencies
from app.api.headers import CANCEL_AFTER, PARAMETERS, PREFER, cancel_after
from app.api.problems import documented
from app.errors import Conflict, Fault, InsufficientStorage, Invalid, TooManyJobs
from app.schemas.job import JobView
from app.services.submit import submit
from app.services.wait import submission_response
from app.uploads.receive import REFUSALS, receive_form


class Direct(APIRoute):
    """A route that FastAPI documents; the endpoint itself takes the request and gives the answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint: there are no dependencies to solve and nothing to validate before it."""
        return self.endpoint


router = APIRouter(tags=["stylize"], route_class=Direct)

KEY_HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x21-\x7e]{1,255}")
PARAMETER = {
    "name": KEY_HEADER,
    "in": "header",
    "description": "the same key and request: the first answer again; another request: 409",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
}


@router.post(
    "/stylize",
    summary="Ask for pictures in the style of a reference",
    status_code=202,
    response_model=JobView,
    openapi_extra={"parameters": [PARAMETER, *PARAMETERS]},
    responses=documented(*REFUSALS, Conflict, Invalid, TooManyJobs, InsufficientStorage)
    | {
        200: {"description": "Done within the time that `Prefer: wait=n` gave", "model": JobView},
        202: {
            "description": "Accepted; `Location` is the job",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
    },
)
async def stylize(request: Request) -> Response:
    """Everything is checked before anything is stored; an accepted job is on disk when this answers."""
    services = await dependencies.services(request)
    key, owner = idempotency_key(request), await dependencies.owner(request, services)
    lifetime = cancel_after(request.headers.get(CANCEL_AFTER))
    async with receive_form(request, services, services.capabilities.schema) as form:
        submission = await submit(services, form, owner=owner, key=key, source="api", lifetime=lifetime)
    return await submission_response(services, submission, request.headers.get(PREFER))


def idempotency_key(request: Request) -> str | None:
    """Return the caller's key. Raises Invalid."""
    key = request.headers.get(KEY_HEADER)
    if key is not None and not KEY.fullmatch(key):
        raise Invalid.of([Fault(f"#/{KEY_HEADER}", "must be 1 to 255 visible ASCII characters")])
    return key
