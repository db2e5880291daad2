"""The client that awaits."""

import asyncio
from typing import Any, Self, TypeVar

import httpx2

from .http import BlockingCall, HTTPRequest, HTTPResponse, Operation, Sleep, authorization
from .operations import Operations
from .sync_client import LOCAL

T = TypeVar("T")


class AsyncClient(Operations):
    """A client that awaits. Close it, or use it as a context manager."""

    def __init__(self, url: str = LOCAL, *, key: str | None = None, timeout: float = 60.0) -> None:
        """Speak to the service at `url`, with an API key if it wants one; each answer within `timeout` seconds."""
        self._http = httpx2.AsyncClient(base_url=url, headers=authorization(key), timeout=timeout)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, operation: Operation[T]) -> T:
        """Run an operation and return its result."""
        came: Any = None
        while True:
            try:
                step = operation.send(came)
            except StopIteration as end:
                result: T = end.value
                return result
            came = await self._take(step)

    async def _take(self, step: HTTPRequest | Sleep | BlockingCall) -> object:
        if isinstance(step, Sleep):
            await asyncio.sleep(step.seconds)
            return None
        if isinstance(step, BlockingCall):
            return await asyncio.to_thread(step.function)
        try:
            response = await self._http.request(**step.arguments())
        except httpx2.RequestError as fault:
            return HTTPResponse.missing(self._http.base_url, fault)
        return HTTPResponse(response.status_code, response.content, response.headers)
