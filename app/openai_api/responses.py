"""What makes a route look like one of OpenAI's: errors carry the member `error`, pictures come with the answer."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.problems import answer, of_contract, of_validation
from app.dependencies import Services, sharing
from app.errors import BodyTimeout, Fault, Invalid, Malformed, Problem, TooLarge, UnsupportedMedia
from app.services.wait import wait_until_final
from app.storage.send import OpenedResponse
from app.uploads.multipart import HANG_UP, escaped
from workers.contract.errors import ContractError
from workers.contract.jobs.models import Image, Job, State, StylizeRequest

JSON = "application/json"
MAX_JSON = 65_536


class NotDone(Problem):
    """The picture is not there within the time that a caller may wait; the job was canceled."""

    status, code, title = 504, "not-done-in-time", "The picture was not done in time"


class PictureJobFailed(Problem):
    """The job failed or was canceled by somebody else."""

    status, code, title = 500, "job-failed", "The job came to nothing"


class PictureView(BaseModel):
    """One picture, inside the answer or at an address."""

    b64_json: str | None = None
    url: str | None = None
    seed: int


class PicturesView(BaseModel):
    """The pictures asked for."""

    created: int
    data: list[PictureView]
    output_format: str
    size: str = Field(examples=["512x512"])
    job: str = Field(description="address of the job: its recipe, timings and cost")


class OpenAIRoute(APIRoute):
    """Answers problems with what OpenAI's clients look for beside what a problem document has."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await inner(request)
            except Problem as problem:
                return refusal(problem)
            except ContractError as fault:
                return refusal(of_contract(fault))
            except RequestValidationError as fault:
                return refusal(of_validation(fault))

        return handler


def refusal(problem: Problem) -> JSONResponse:
    """Return a problem document with OpenAI's member `error`."""
    shown = answer(problem)
    kind = "invalid_request_error" if problem.status < 500 else "server_error"
    param = problem.errors[0].pointer[2:] if problem.errors else None
    error = {"message": problem.detail, "type": kind, "param": param, "code": problem.code}
    headers = {name: value for name, value in shown.headers.items() if name not in ("content-length", "content-type")}
    return JSONResponse(problem.body() | {"error": error}, problem.status, headers, media_type=shown.media_type)


async def json_body(request: Request, services: Services) -> dict[str, Any]:
    """Return the small JSON object in a body. Raises a Problem."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:  # a page of another site could send anything else without asking
        raise UnsupportedMedia(f"the body must be {JSON}, with that Content-Type")
    seconds = services.settings.gateway_form_seconds
    try:
        with services.memory.entered(sharing(request)):
            async with asyncio.timeout(seconds):
                body = await _read(request)
    except TimeoutError:
        raise BodyTimeout(f"the body did not arrive within {seconds:g} seconds", headers=HANG_UP) from None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as fault:
        raise Malformed("the body is not JSON") from fault
    if not isinstance(found, dict):
        raise Malformed("the body is not a JSON object")
    check_encodable(found)
    return found


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_JSON:
            raise TooLarge(f"the body is larger than {MAX_JSON:,} bytes", headers=HANG_UP)
    return bytes(body)


def check_encodable(found: Mapping[str, Any]) -> None:
    """Raise Invalid naming the fields that hold half a surrogate pair: JSON can spell it, no text can hold it."""
    faults = []
    for name, value in found.items():
        try:
            json.dumps([name, value], ensure_ascii=False).encode()
        except UnicodeEncodeError:
            faults.append(Fault(f"#/{escaped(name)}", "is no Unicode text: it holds half a surrogate pair"))
    if faults:
        raise Invalid.of(faults)


async def pictures(request: Request, services: Services, job: Job, wanted: str) -> Response:
    """Wait for a job and answer with its pictures. A job that takes too long is canceled. Raises a Problem."""
    done = await wait_until_final(services, job, services.settings.gateway_wait_seconds)
    if not done.state.final:
        await services.call(services.store.cancel, job.id, job.owner)
        raise NotDone(f"job {job.id} was canceled after {services.settings.gateway_wait_seconds} seconds")
    if done.state is not State.SUCCEEDED or done.result is None:
        raise PictureJobFailed(done.failure.detail if done.failure else "the job was canceled")
    here = "" if services.links.public_url else str(request.base_url).rstrip("/")
    data = [
        PictureView(
            b64_json=_place(number) if wanted == "b64_json" else None,
            url=here + services.links.image(job.id, number)[0] if wanted == "url" else None,
            seed=image.seed,
        )
        for number, image in enumerate(done.result.images)
    ]
    asked = done.request
    assert isinstance(asked, StylizeRequest)
    shown = PicturesView(
        created=int(time.time()),
        data=data,
        output_format=asked.output_format,
        size=f"{asked.width}x{asked.height}",
        job=here + services.links.job(job.id),
    )
    text = shown.model_dump_json(exclude_none=True)
    if wanted == "url":
        return Response(text, media_type=JSON)
    return await _filled(services, text, done.result.images, job.owner)


def _place(number: int) -> str:
    """Return what stands for a picture in the text of an answer until its file is sent."""
    return f"<picture {number}>"


async def _filled(services: Services, text: str, images: Sequence[Image], caller: str) -> Response:
    """Return an answer that streams the pictures' files in base64 into a text. Raises BlobMissing, Unavailable."""
    opened = AsyncExitStack()
    streams = [await services.pictures.open(image.blob, caller, opened) for image in images]

    async def parts() -> AsyncIterator[bytes]:
        rest = text
        for number, stream in enumerate(streams):
            before, _, rest = rest.partition(_place(number))
            yield before.encode()
            left = b""
            async for block in services.pictures.blocks(stream):
                piece = left + block
                whole = len(piece) - len(piece) % 3
                left = piece[whole:]
                yield base64.b64encode(piece[:whole])
            yield base64.b64encode(left)
        yield rest.encode()

    return OpenedResponse(parts(), opened, media_type=JSON)
