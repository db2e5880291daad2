"""How errors become answers: one handler for every kind of exception, one document for all."""

import logging
import traceback
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from app import errors
from app.auth.keyring import NEEDED
from app.errors import (
    Fault,
    Forbidden,
    Internal,
    Invalid,
    MethodNotAllowed,
    NotFound,
    NothingNew,
    Problem,
    RateLimited,
    TooManyInFlight,
    TooManyJobs,
    TooMuchStored,
    Unauthorized,
    Unavailable,
)
from app.schemas.problem import ProblemView
from app.uploads.multipart import Disconnected
from workers.contract.errors import (
    BlobMissing,
    ContractError,
    IdempotencyConflict,
    OwnerRevoked,
    QueueFull,
    StorageQuota,
    TooManyActive,
    UnreadableRecord,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
SCHEMA = {"$ref": f"#/components/schemas/{ProblemView.__name__}"}
CLIENT_CLOSED = 499
BUSY: tuple[type[Problem], ...] = (TooManyJobs, TooManyInFlight, RateLimited)
"""Why a request for work may have to come again later."""


def problem_response(problem: Problem) -> JSONResponse:
    """Return the answer that tells a problem."""
    headers = {"Cache-Control": "no-store", **problem.headers}
    return JSONResponse(problem.body(), problem.status, headers, media_type=MEDIA_TYPE)


def of_contract(fault: ContractError) -> Problem:
    """Return the problem that an error of the job protocol means to a caller."""
    match fault:
        case QueueFull():
            return TooManyJobs(str(fault), headers={"Retry-After": str(fault.retry_after)})
        case TooManyActive():
            return TooManyInFlight(str(fault), headers={"Retry-After": str(fault.retry_after)})
        case OwnerRevoked():
            return errors.Unauthorized(NEEDED)
        case StorageQuota():
            return TooMuchStored(str(fault))
        case UnreadableRecord():
            return errors.RecordUnreadable(str(fault))
        case IdempotencyConflict():
            return errors.Conflict(str(fault))
        case BlobMissing():
            return NotFound("the picture is no longer there")
        case _:
            log.warning("%s: %s", fault.code, fault)
            return Unavailable("a part of the service is away; try again")


def of_http(fault: HTTPException) -> Problem:
    """Return the problem for what the router refuses."""
    if fault.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed("this address does not take that method", headers=fault.headers)
    if fault.status_code == HTTPStatus.NOT_FOUND:
        return NotFound("there is nothing at this address")
    return Internal("something went wrong on our side")


def of_validation(fault: RequestValidationError) -> Problem:
    """Return the problem for malformed path, query and header values."""
    return Invalid.of([Fault("#/" + "/".join(map(str, item["loc"][1:])), item["msg"]) for item in fault.errors()])


async def on_problem(_: Request, fault: Exception) -> Response:
    """Answer a Problem."""
    assert isinstance(fault, Problem)
    return problem_response(fault)


async def on_contract(_: Request, fault: Exception) -> Response:
    """Answer an error of the job protocol."""
    assert isinstance(fault, ContractError)
    return problem_response(of_contract(fault))


async def on_http(_: Request, fault: Exception) -> Response:
    """Answer what the router refuses."""
    assert isinstance(fault, HTTPException)
    return problem_response(of_http(fault))


async def on_validation(_: Request, fault: Exception) -> Response:
    """Answer malformed path, query and header values."""
    assert isinstance(fault, RequestValidationError)
    return problem_response(of_validation(fault))


async def on_disconnect(_: Request, __: Exception) -> Response:
    """Answer nobody: the caller went away."""
    return Response(status_code=CLIENT_CLOSED)


async def on_nothing_new(_: Request, __: Exception) -> Response:
    """Tell a browser to come back no more."""
    return Response(status_code=HTTPStatus.NO_CONTENT)


def report_bug(fault: Exception, request_id: str) -> Response:
    """Log a bug and return its answer, which names the request.

    The log gets where and of which kind; never its text, which may hold what the caller sent.
    """
    places = "".join(traceback.format_tb(fault.__traceback__))
    log.error(
        "%s in the gateway, request %s\n%s",
        *(type(fault).__name__, request_id, places),
        extra={"request_id": request_id},
    )
    detail = f"something went wrong on our side; the gateway's log tells more of request {request_id}"
    return problem_response(Internal(detail, instance=f"urn:stylize:request:{request_id}"))


HANDLERS: tuple[tuple[type[Exception], Callable[[Request, Exception], Any]], ...] = (
    (Problem, on_problem),
    (ContractError, on_contract),
    (HTTPException, on_http),
    (RequestValidationError, on_validation),
    (Disconnected, on_disconnect),
    (ClientDisconnect, on_disconnect),
    (NothingNew, on_nothing_new),
)


def install(app: FastAPI) -> None:
    """Make an application answer all errors as problems."""
    for kind, handler in HANDLERS:
        app.add_exception_handler(kind, handler)


def problem_docs(*problems: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the problems that a route which knows its caller may answer with."""
    answers: tuple[type[Problem], ...] = (
        errors.RecordUnreadable,
        Unauthorized,
        Forbidden,
        *problems,
        Internal,
        Unavailable,
    )
    titles: dict[int, dict[str, None]] = {}
    for problem in answers:
        titles.setdefault(problem.status, {})[problem.title] = None
    return {
        status: {"description": "; ".join(found), "content": {MEDIA_TYPE: {"schema": SCHEMA}}}
        for status, found in titles.items()
    }
