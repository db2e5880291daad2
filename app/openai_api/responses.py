"""What makes a route look like one of OpenAI's: errors carry the member `error`, pictures come with the answer."""

import base64
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.problems import of_contract, of_validation, problem_response
from app.dependencies import JobsDep, LinksDep, SenderDep, WaiterDep
from app.errors import Problem
from app.storage.send import OpenedResponse
from workers.contract.errors import ContractError
from workers.contract.jobs.models import Image, Job, State, StylizeRequest

JSON = "application/json"


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
    shown = problem_response(problem)
    kind = "invalid_request_error" if problem.status < 500 else "server_error"
    param = problem.errors[0].pointer[2:] if problem.errors else None
    error = {"message": problem.detail, "type": kind, "param": param, "code": problem.code}
    headers = {name: value for name, value in shown.headers.items() if name not in ("content-length", "content-type")}
    return JSONResponse(problem.body() | {"error": error}, problem.status, headers, media_type=shown.media_type)


@dataclass(frozen=True)
class PictureResponder:
    """Answers with the pictures of a job; one that takes too long is canceled."""

    waiter: WaiterDep
    jobs: JobsDep
    links: LinksDep
    sender: SenderDep

    async def respond(self, request: Request, job: Job, wanted: str) -> Response:
        """Wait for a job and answer with its pictures. Raises a Problem."""
        done = await self.waiter.wait_until_final(job, self.waiter.longest)
        if not done.state.final:
            await self.jobs.cancel(job.id, job.owner)
            raise NotDone(f"job {job.id} was canceled after {self.waiter.longest} seconds")
        if done.state is not State.SUCCEEDED or done.result is None:
            raise PictureJobFailed(done.failure.detail if done.failure else "the job was canceled")
        here = "" if self.links.public_url else str(request.base_url).rstrip("/")
        data = [
            PictureView(
                b64_json=_place(number) if wanted == "b64_json" else None,
                url=here + self.links.image(job.id, number)[0] if wanted == "url" else None,
                seed=image.seed,
            )
            for number, image in enumerate(done.result.images)
        ]
        asked = done.request
        assert isinstance(asked, StylizeRequest)
        view = PicturesView(
            created=int(time.time()),
            data=data,
            output_format=asked.output_format,
            size=f"{asked.width}x{asked.height}",
            job=here + self.links.job(job.id),
        )
        text = view.model_dump_json(exclude_none=True)
        if wanted == "url":
            return Response(text, media_type=JSON)
        return await self._stream_pictures(text, done.result.images, job.owner)

    async def _stream_pictures(self, text: str, images: Sequence[Image], caller: str) -> Response:
        """Return an answer that streams the pictures' files in base64 into a text. Raises BlobMissing, Unavailable."""
        opened = AsyncExitStack()
        streams = [await self.sender.open(image.blob, caller, opened) for image in images]

        async def parts() -> AsyncIterator[bytes]:
            rest = text
            for number, stream in enumerate(streams):
                before, _, rest = rest.partition(_place(number))
                yield before.encode()
                left = b""
                async for block in self.sender.blocks(stream):
                    piece = left + block
                    whole = len(piece) - len(piece) % 3
                    left = piece[whole:]
                    yield base64.b64encode(piece[:whole])
                yield base64.b64encode(left)
            yield rest.encode()

        return OpenedResponse(parts(), opened, media_type=JSON)


def _place(number: int) -> str:
    """Return what stands for a picture in the text of an answer until its file is sent."""
    return f"<picture {number}>"
