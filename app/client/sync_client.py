"""The client that blocks."""

import time
from typing import Any, Self, TypeVar

import httpx2

from .http import BlockingCall, HTTPRequest, HTTPResponse, Operation, Sleep, authorization
from .operations import Operations

T = TypeVar("T")
LOCAL = "http://127.0.0.1:8000"


class Client(Operations):
    """A client that blocks. Close it, or use it as a context manager."""

    def __init__(self, url: str = LOCAL, *, key: str | None = None, timeout: float = 60.0) -> None:
        """Speak to the service at `url`, with an API key if it wants one; each answer within `timeout` seconds."""
        self._http = httpx2.Client(base_url=url, headers=authorization(key), timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, operation: Operation[T]) -> T:
        """Run an operation and return its result."""
        came: Any = None
        while True:
            try:
                step = operation.send(came)
            except StopIteration as end:
                result: T = end.value
                return result
            came = self._take(step)

    def _take(self, step: HTTPRequest | Sleep | BlockingCall) -> object:
        if isinstance(step, Sleep):
            time.sleep(step.seconds)
            return None
        if isinstance(step, BlockingCall):
            return step.function()
        try:
            response = self._http.request(**step.arguments())
        except httpx2.RequestError as fault:
            return HTTPResponse.missing(self._http.base_url, fault)
        return HTTPResponse(response.status_code, response.content, response.headers)
