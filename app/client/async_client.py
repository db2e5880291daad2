"""The client that awaits."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar, Unpack

import httpx2

from app.client import group_operations, operations
from app.client.group_operations import Lists
from app.client.http import LOCAL, arguments, authorization, id_of, save, unreachable, unseen
from app.client.operations import File, HTTPRequest, HTTPResponse, Operation, Sleep, StylizeFields
from app.schemas.job import JobsView, JobView, MethodsView
from app.schemas.style import ComparisonView, StylesView, StyleView
from workers.contract.jobs.models import State

T = TypeVar("T")


class AsyncClient:
    """A client that awaits. Close it, or use it as a context manager."""

    def __init__(self, url: str = LOCAL, *, key: str | None = None, timeout: float = 60.0) -> None:
        """Speak to the service at `url`, with an API key if it wants one; each answer within `timeout` seconds."""
        self._http = httpx2.AsyncClient(base_url=url, headers=authorization(key), timeout=timeout)

    async def submit(self, method: str, **asked: Unpack[StylizeFields]) -> JobView:
        """See Client."""
        return await self._run(operations.submit(method, asked))

    async def again(self, recipe: Mapping[str, Any] | File, **changed: Unpack[StylizeFields]) -> JobView:
        """See Client."""
        return await self._run(operations.submit(None, changed, recipe))

    async def job(self, job_id: str) -> JobView:
        """See Client."""
        return await self._run(operations.job(job_id))

    async def jobs(self, *, state: State | None = None, limit: int = 20, cursor: str | None = None) -> JobsView:
        """See Client."""
        return await self._run(operations.jobs(state, limit, cursor))

    async def methods(self) -> MethodsView:
        """See Client."""
        return await self._run(operations.methods())

    async def wait(
        self, job: JobView | str, *, seconds: float | None = None, seen: Callable[[JobView], object] = unseen
    ) -> JobView:
        """See Client."""
        return await self._run(operations.wait(id_of(job), seconds, seen))

    async def cancel(self, job: JobView | str) -> JobView:
        """See Client."""
        return await self._run(operations.cancel(id_of(job)))

    async def preview(self, job: JobView | str) -> bytes | None:
        """See Client."""
        return await self._run(operations.preview(id_of(job)))

    async def pictures(self, job: JobView) -> list[bytes]:
        """See Client."""
        return await self._run(operations.pictures(job))

    async def download(self, job: JobView, folder: Path | str = ".") -> list[Path]:
        """See Client."""
        return await asyncio.to_thread(save, job, await self.pictures(job), Path(folder))

    async def save_style(
        self,
        name: str,
        style_images: Sequence[File],
        *,
        weights: Sequence[float] = (),
        precompute: Sequence[str] = (),
        model: str | None = None,
    ) -> StyleView:
        """See Client."""
        return await self._run(group_operations.save_style(name, style_images, weights, precompute, model))

    async def style(self, style_id: str) -> StyleView:
        """See Client."""
        return await self._run(group_operations.style(style_id))

    async def precompute(self, style_id: str, methods: Sequence[str], *, model: str | None = None) -> StyleView:
        """See Client."""
        return await self._run(group_operations.precompute(style_id, methods, model))

    async def styles(self, *, limit: int = 20, cursor: str | None = None) -> StylesView:
        """See Client."""
        return await self._run(group_operations.styles(limit, cursor))

    async def delete_style(self, style_id: str) -> None:
        """See Client."""
        await self._run(group_operations.delete_style(style_id))

    async def compare(self, lists: Lists, **asked: Unpack[StylizeFields]) -> ComparisonView:
        """See Client."""
        return await self._run(group_operations.compare(lists, asked))

    async def comparison(self, comparison_id: str) -> ComparisonView:
        """See Client."""
        return await self._run(group_operations.comparison(comparison_id))

    async def cancel_comparison(self, comparison_id: str) -> ComparisonView:
        """See Client."""
        return await self._run(group_operations.comparison(comparison_id, "DELETE"))

    async def wait_all(
        self,
        comparison_id: str,
        *,
        seconds: float | None = None,
        seen: Callable[[ComparisonView], object] = lambda _: None,
    ) -> ComparisonView:
        """See Client."""
        return await self._run(group_operations.wait_all(comparison_id, seconds, seen))

    async def sheet(self, comparison_id: str) -> bytes:
        """See Client."""
        return await self._run(group_operations.sheet(comparison_id))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, exchange: Operation[T]) -> T:
        try:
            step = next(exchange)
            while True:
                if isinstance(step, Sleep):
                    await asyncio.sleep(step.seconds)
                    step = next(exchange)
                else:
                    step = exchange.send(await self._answer(step))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _answer(self, call: HTTPRequest) -> HTTPResponse:
        try:
            answer = await self._http.request(**arguments(call))
        except httpx2.TransportError as fault:
            return HTTPResponse(0, unreachable(self._http.base_url, fault))
        return HTTPResponse(answer.status_code, answer.content, answer.headers)
