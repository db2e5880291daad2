"""The client that blocks."""

import time
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


class Client:
    """A client that blocks. Close it, or use it as a context manager."""

    def __init__(self, url: str = LOCAL, *, key: str | None = None, timeout: float = 60.0) -> None:
        """Speak to the service at `url`, with an API key if it wants one; each answer within `timeout` seconds."""
        self._http = httpx2.Client(base_url=url, headers=authorization(key), timeout=timeout)

    def submit(self, method: str, **asked: Unpack[StylizeFields]) -> JobView:
        """Ask for pictures; returns the accepted job."""
        return self._run(operations.submit(method, asked))

    def again(self, recipe: Mapping[str, Any] | File, **changed: Unpack[StylizeFields]) -> JobView:
        """Ask for the pictures of a recipe: a job's `recipe`, or a picture that carries one; with changes if wanted."""
        return self._run(operations.submit(None, changed, recipe))

    def job(self, job_id: str) -> JobView:
        """Return a job as it is now."""
        return self._run(operations.job(job_id))

    def jobs(self, *, state: State | None = None, limit: int = 20, cursor: str | None = None) -> JobsView:
        """Return a page of jobs, newest first."""
        return self._run(operations.jobs(state, limit, cursor))

    def methods(self) -> MethodsView:
        """Return the methods that the service offers."""
        return self._run(operations.methods())

    def wait(
        self, job: JobView | str, *, seconds: float | None = None, seen: Callable[[JobView], object] = unseen
    ) -> JobView:
        """Return the job once it has succeeded; `seen` gets each look at it. Raises JobFailed, JobCanceled."""
        return self._run(operations.wait(id_of(job), seconds, seen))

    def cancel(self, job: JobView | str) -> JobView:
        """Cancel a job; a finished one stays as it is."""
        return self._run(operations.cancel(id_of(job)))

    def preview(self, job: JobView | str) -> bytes | None:
        """Return the newest preview of a running job, a small JPEG; None when there is none."""
        return self._run(operations.preview(id_of(job)))

    def pictures(self, job: JobView) -> list[bytes]:
        """Return the pictures' files."""
        return self._run(operations.pictures(job))

    def download(self, job: JobView, folder: Path | str = ".") -> list[Path]:
        """Write the pictures to a folder, as `<job>-<n>.<format>`; returns where they are."""
        return save(job, self.pictures(job), Path(folder))

    def save_style(
        self,
        name: str,
        style_images: Sequence[File],
        *,
        weights: Sequence[float] = (),
        precompute: Sequence[str] = (),
        model: str | None = None,
    ) -> StyleView:
        """Save 1 to 10 references under a name; its id then stands for them as `style_id`. See `precompute`."""
        return self._run(group_operations.save_style(name, style_images, weights, precompute, model))

    def style(self, style_id: str) -> StyleView:
        """Return a saved style; `prepared` tells for which methods it is ready."""
        return self._run(group_operations.style(style_id))

    def precompute(self, style_id: str, methods: Sequence[str], *, model: str | None = None) -> StyleView:
        """Have a worker compute at once what methods need of a style, with their defaults on a model."""
        return self._run(group_operations.precompute(style_id, methods, model))

    def styles(self, *, limit: int = 20, cursor: str | None = None) -> StylesView:
        """Return a page of saved styles, newest first."""
        return self._run(group_operations.styles(limit, cursor))

    def delete_style(self, style_id: str) -> None:
        """Delete a saved style."""
        self._run(group_operations.delete_style(style_id))

    def compare(self, lists: Lists, **asked: Unpack[StylizeFields]) -> ComparisonView:
        """Ask for what the lists vary, from the same references."""
        return self._run(group_operations.compare(lists, asked))

    def comparison(self, comparison_id: str) -> ComparisonView:
        """Return a comparison as it is now."""
        return self._run(group_operations.comparison(comparison_id))

    def cancel_comparison(self, comparison_id: str) -> ComparisonView:
        """Cancel all jobs of a comparison; finished ones stay as they are."""
        return self._run(group_operations.comparison(comparison_id, "DELETE"))

    def wait_all(
        self,
        comparison_id: str,
        *,
        seconds: float | None = None,
        seen: Callable[[ComparisonView], object] = lambda _: None,
    ) -> ComparisonView:
        """Return a comparison once all its jobs are final, or the time is up; `seen` gets each look."""
        return self._run(group_operations.wait_all(comparison_id, seconds, seen))

    def sheet(self, comparison_id: str) -> bytes:
        """Return the contact sheet of a finished comparison, a PNG."""
        return self._run(group_operations.sheet(comparison_id))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, exchange: Operation[T]) -> T:
        try:
            step = next(exchange)
            while True:
                if isinstance(step, Sleep):
                    time.sleep(step.seconds)
                    step = next(exchange)
                else:
                    step = exchange.send(self._answer(step))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _answer(self, call: HTTPRequest) -> HTTPResponse:
        try:
            answer = self._http.request(**arguments(call))
        except httpx2.TransportError as fault:
            return HTTPResponse(0, unreachable(self._http.base_url, fault))
        return HTTPResponse(answer.status_code, answer.content, answer.headers)
