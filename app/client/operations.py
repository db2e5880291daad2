"""What a client can do. Each operation is written once: `Client` runs it blocking, `AsyncClient` awaits it."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, Unpack

from .comparison_models import ComparisonsView, ComparisonView
from .decorator import operation
from .errors import JobCanceled, JobFailed, NotDoneInTime, RequestRefused
from .file_names import BY_JOB, check_template
from .forms import build_request, read_files, text_of
from .http import HTTPRequest, Operation, Sleep, build_path, call, fetch, get_query, send
from .methods import MethodsView
from .models import (
    Answer,
    File,
    JobState,
    JobsView,
    JobView,
    StylesView,
    StyleView,
    StylizeFields,
)
from .pictures import fetch_pictures, write_pictures

T = TypeVar("T")

FIRST_LOOK, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two looks at a job: they grow, so that short jobs are noticed soon and long ones cost little."""
GONE = 404


class Operations:
    """Jobs, their pictures, saved styles and comparisons."""

    @operation
    def submit(self, method: str | None = None, **fields: Unpack[StylizeFields]) -> Operation[JobView]:
        """Ask for pictures, without a method by the service's default; return the accepted job."""
        request = yield from build_request("/stylize", {**({"method": method} if method else {}), **fields})
        return (yield from fetch(JobView, request))

    @operation
    def submit_recipe(
        self, recipe: Answer | Mapping[str, Any] | File, **changes: Unpack[StylizeFields]
    ) -> Operation[JobView]:
        """Ask for the pictures of a recipe: a job's `recipe`, or a picture that carries one; with changes if wanted."""
        request = yield from build_request("/stylize", changes, recipe)
        return (yield from fetch(JobView, request))

    @operation
    def get_job(self, job_id: str) -> Operation[JobView]:
        """Return a job as it is now."""
        return (yield from fetch_job(job_id))

    @operation
    def list_jobs(
        self,
        *,
        state: JobState | str | None = None,
        text: str | None = None,
        method: str | None = None,
        model: str | None = None,
        style: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> Operation[JobsView]:
        """Return a page of jobs, newest first; follow its cursor: a page may be short, or empty, and have a next one.

        `text` is in the prompt; `style` is a saved style's id or a reference's sha256.
        """
        times = {"created_after": created_after, "created_before": created_before}
        more = {"state": state, "text": text, "method": method, "model": model, "style": style}
        more |= {name: at.isoformat() for name, at in times.items() if at}
        return (yield from fetch(JobsView, page("jobs", limit, cursor, **more)))

    @operation
    def list_methods(self) -> Operation[MethodsView]:
        """Return the methods that the service offers."""
        return (yield from fetch(MethodsView, HTTPRequest("GET", "/methods")))

    @operation
    def wait(
        self,
        job: JobView | str,
        *,
        seconds: float | None = None,
        on_update: Callable[[JobView], object] | None = None,
    ) -> Operation[JobView]:
        """Return the job once it has succeeded; `on_update` gets each look at it.

        Raises JobFailed, JobCanceled, NotDoneInTime.
        """
        job_id = job if isinstance(job, str) else job.id
        current = yield from poll(lambda: fetch_job(job_id), lambda job: job.state.final, seconds, on_update)
        if not current.state.final:
            raise NotDoneInTime(current, seconds or 0.0)
        if current.state is JobState.FAILED:
            raise JobFailed(current)
        if current.state is JobState.CANCELED:
            raise JobCanceled(current)
        return current

    @operation
    def cancel(self, job: JobView | str) -> Operation[JobView]:
        """Cancel a job; a finished one stays as it is."""
        job_id = job if isinstance(job, str) else job.id
        request = HTTPRequest("DELETE", build_path("jobs", job_id), query={"cancel_only": "true"})
        return (yield from fetch(JobView, request))

    @operation
    def delete(self, job: JobView | str) -> Operation[None]:
        """Delete a final job with its pictures, and references that nothing else names; one that is not is canceled."""
        yield from send(HTTPRequest("DELETE", build_path("jobs", job if isinstance(job, str) else job.id)))

    @operation
    def get_preview(self, job: JobView | str) -> Operation[bytes | None]:
        """Return the newest preview of a running job, a small JPEG; None when there is none."""
        current = yield from fetch_job(job if isinstance(job, str) else job.id)
        if current.preview is None:
            return None
        request = HTTPRequest("GET", build_path("jobs", current.id, "preview"), query=get_query(current.preview))
        try:
            response = yield from send(request)
        except RequestRefused as refused:
            if refused.status != GONE:
                raise
            return None
        return response.content

    @operation
    def get_control_map(self, job: JobView) -> Operation[bytes | None]:
        """Return the map that a job made, a PNG; None when it made none."""
        if job.control_map is None:
            return None
        path, query = build_path("jobs", job.id, "control-map"), get_query(job.control_map.url)
        return (yield from send(HTTPRequest("GET", path, query=query))).content

    @operation
    def get_pictures(self, job: JobView) -> Operation[list[bytes]]:
        """Return the pictures' files, each checked against its sha256."""
        return (yield from fetch_pictures(job))

    @operation
    def download(
        self, job: JobView, folder: Path | str = ".", *, name: str = BY_JOB, first: int = 1
    ) -> Operation[list[Path]]:
        """Write the pictures to a folder; return where they are.

        `name` is a template of the files' names: {n} counts from `first`, {index} from 0, {prompt}, {seed}, {method},
        {model} and {job} are what made the picture. Raises ValueError for a template that gives no names.
        """
        check_template(name)
        pictures = yield from fetch_pictures(job)
        return (yield from call(lambda: write_pictures(job, pictures, Path(folder), name, first)))

    @operation
    def get_zip(self, *jobs: JobView | str) -> Operation[bytes]:
        """Return the pictures of up to 100 final jobs as a zip, named by prompt and seed, with recipes.json."""
        ids = ",".join(job if isinstance(job, str) else job.id for job in jobs)
        return (yield from send(HTTPRequest("GET", "/images.zip", query={"job": ids}))).content

    @operation
    def save_style(
        self,
        name: str,
        style_images: Sequence[File],
        *,
        weights: Sequence[float] = (),
        precompute: Sequence[str] = (),
        model: str | None = None,
    ) -> Operation[StyleView]:
        """Save 1 to 10 references under a name; its id then stands for them as `style_id`. See `precompute_style`."""
        given = {"style_weights": text_of(weights), "precompute": text_of(precompute), "model": model}
        fields = {"name": name} | {field: text for field, text in given.items() if text}
        files = yield from read_files("style_images", style_images)
        return (yield from fetch(StyleView, HTTPRequest("POST", "/styles", fields=fields, files=files)))

    @operation
    def get_style(self, style_id: str) -> Operation[StyleView]:
        """Return a saved style; `prepared` tells for which methods it is ready."""
        return (yield from fetch(StyleView, HTTPRequest("GET", build_path("styles", style_id))))

    @operation
    def precompute_style(
        self, style_id: str, methods: Sequence[str], *, model: str | None = None
    ) -> Operation[StyleView]:
        """Have a worker compute at once what methods need of a style, with their defaults on a model."""
        fields = {"method": text_of(methods)} | ({"model": model} if model else {})
        request = HTTPRequest("POST", build_path("styles", style_id, "precompute"), fields=fields)
        return (yield from fetch(StyleView, request))

    @operation
    def list_styles(self, *, limit: int = 20, cursor: str | None = None) -> Operation[StylesView]:
        """Return a page of saved styles, newest first."""
        return (yield from fetch(StylesView, page("styles", limit, cursor)))

    @operation
    def delete_style(self, style_id: str) -> Operation[None]:
        """Delete a saved style."""
        yield from send(HTTPRequest("DELETE", build_path("styles", style_id)))

    @operation
    def compare(
        self,
        methods: Sequence[str],
        *,
        strengths: Sequence[float] = (),
        seeds: Sequence[int] = (),
        **fields: Unpack[StylizeFields],
    ) -> Operation[ComparisonView]:
        """Ask for each method with each strength and each seed, from the same references."""
        lists = {"method": methods, "strength": strengths, "seed": seeds}
        given = {**fields, **{name: values for name, values in lists.items() if values}}
        request = yield from build_request("/comparisons", given)
        return (yield from fetch(ComparisonView, request))

    @operation
    def list_comparisons(self, *, limit: int = 20, cursor: str | None = None) -> Operation[ComparisonsView]:
        """Return a page of comparisons, newest first."""
        return (yield from fetch(ComparisonsView, page("comparisons", limit, cursor)))

    @operation
    def get_comparison(self, comparison_id: str) -> Operation[ComparisonView]:
        """Return a comparison as it is now."""
        return (yield from fetch_comparison(comparison_id))

    @operation
    def wait_comparison(
        self,
        comparison_id: str,
        *,
        seconds: float | None = None,
        on_update: Callable[[ComparisonView], object] | None = None,
    ) -> Operation[ComparisonView]:
        """Return a comparison once all its jobs are final, or the time is up; `on_update` gets each look."""
        look = functools.partial(fetch_comparison, comparison_id)
        return (yield from poll(look, lambda comparison: comparison.state == "finished", seconds, on_update))

    @operation
    def cancel_comparison(self, comparison_id: str) -> Operation[ComparisonView]:
        """Cancel all jobs of a comparison; finished ones stay as they are."""
        path = build_path("comparisons", comparison_id)
        return (yield from fetch(ComparisonView, HTTPRequest("DELETE", path, query={"cancel_only": "true"})))

    @operation
    def delete_comparison(self, comparison_id: str) -> Operation[None]:
        """Delete a comparison with all its jobs, once they are final; before, they are canceled."""
        yield from send(HTTPRequest("DELETE", build_path("comparisons", comparison_id)))

    @operation
    def get_contact_sheet(self, comparison_id: str) -> Operation[bytes]:
        """Return the contact sheet of a finished comparison, a PNG."""
        return (yield from send(HTTPRequest("GET", build_path("comparisons", comparison_id, "sheet")))).content


def fetch_job(job_id: str) -> Operation[JobView]:
    """Look at a job."""
    return fetch(JobView, HTTPRequest("GET", build_path("jobs", job_id)))


def fetch_comparison(comparison_id: str) -> Operation[ComparisonView]:
    """Look at a comparison."""
    return fetch(ComparisonView, HTTPRequest("GET", build_path("comparisons", comparison_id)))


def page(resource: str, limit: int, cursor: str | None, **more: str | None) -> HTTPRequest:
    """Return the request for a page."""
    query = {"limit": str(limit), "cursor": cursor, **more}
    return HTTPRequest("GET", build_path(resource), query={name: value for name, value in query.items() if value})


def poll(
    look: Callable[[], Operation[T]],
    ended: Callable[[T], bool],
    seconds: float | None,
    on_update: Callable[[T], object] | None,
) -> Operation[T]:
    """Look at something until it has ended or the time is up; return the last look."""
    until = None if seconds is None else time.monotonic() + seconds
    pause = FIRST_LOOK
    while True:
        current = yield from look()
        if on_update is not None:
            on_update(current)
        if ended(current) or (until is not None and time.monotonic() + pause > until):
            return current
        yield Sleep(pause)
        pause = min(pause * 1.3, LONGEST_PAUSE)
