"""What callers see of saved styles: also for which methods workers have them prepared."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal

from app.schemas.style import PrecomputeView, StyleLinksView, StyleView
from app.services.styles.precompute_requests import PrecomputeRequests, name_of
from workers.contract.jobs.models import Job, PrecomputeRequest, State
from workers.contract.jobs.store import JobStore
from workers.contract.styles.precompute import PrecomputeStore, precompute_key
from workers.contract.styles.store import Style

TRUSTED = timedelta(seconds=5)
"""How long a preparation that has just succeeded is believed before its worker tells that it still has it."""


def style_view(style: Style, prepared: list[PrecomputeView], public_url: str) -> StyleView:
    """Return what callers see of a style, and for which methods it is prepared."""
    address = f"{public_url}/styles/{style.id}"
    links = StyleLinksView(self=address, precompute=f"{address}/precompute")
    return StyleView(**style.model_dump(exclude={"owner"}), prepared=prepared, links=links)


@dataclass(frozen=True)
class StyleViews:
    """Builds views. Talks to Redis: call it in a thread. `public_url` begins the addresses that are handed out."""

    store: JobStore
    preparations: PrecomputeStore
    requests: PrecomputeRequests
    public_url: str

    def build(self, styles: Sequence[Style]) -> list[StyleView]:
        """Return what callers see of styles."""
        jobs = self.preparations.jobs([style.id for style in styles])
        known = [self.requests.build_all(style) for style in styles]
        pairs = [(one, own.get(name_of(one))) for ones, own in zip(known, jobs, strict=True) for one in ones]
        views = iter(self.build_preparations(pairs))
        return [
            style_view(style, list(islice(views, len(ones))), self.public_url)
            for style, ones in zip(styles, known, strict=True)
        ]

    def build_preparations(self, preparations: Sequence[tuple[PrecomputeRequest, str | None]]) -> list[PrecomputeView]:
        """Return how far some preparations are, each given with the id of its newest job."""
        workers = [worker.id for worker in self.store.workers()]
        keys = [precompute_key(one) for one, _ in preparations]
        counts = self.preparations.count_workers_with(workers, keys)
        jobs = self.store.many(job_id for _, job_id in preparations if job_id)
        now = self.store.now()
        views = []
        for (one, job_id), count in zip(preparations, counts, strict=True):
            job = jobs.get(job_id or "")
            state = "ready" if count else _state(job, now)
            method, model = one.method, one.model
            views.append(
                PrecomputeView(method=method, model=model, state=state, workers=count, job=job.id if job else None)
            )
        return views


def _state(job: Job | None, now: datetime) -> Literal["cold", "preparing", "ready"]:
    """Return how far a preparation is of which no worker tells, by its newest job."""
    if job is None or job.finished_at is None:
        return "cold" if job is None else "preparing"
    return "ready" if job.state is State.SUCCEEDED and now - job.finished_at < TRUSTED else "cold"
