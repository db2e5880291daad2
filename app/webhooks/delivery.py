"""Makes the calls that are due, signed after Standard Webhooks, until they are taken or given up."""

import asyncio
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from standardwebhooks import Webhook

from app.observability.metrics import Metrics
from app.schemas.job import JobView
from app.storage.redis_calls import RedisCalls
from app.urls import TargetRefused
from app.webhooks.errors import NotDelivered, NotTried
from app.webhooks.silent_hosts import SilentHosts
from app.webhooks.transport import WebhookTransport
from workers.contract.errors import ContractError, StoreUnavailable
from workers.contract.jobs.models import Job
from workers.contract.jobs.outbox import Attempt, Due, Outbox, Outcome
from workers.contract.jobs.store import JobStore

log = logging.getLogger(__name__)

PERIOD_SECONDS = 0.25
LEASE_SECONDS = 30.0
AT_ONCE = 64
PER_OWNER = 16
"""Calls of one owner under way at once."""
TRIES = 10
GROWTH = 4
LONGEST_PAUSE = 4 * 3600.0
GONE = 410


@dataclass(frozen=True)
class WebhookDispatcher:
    """Takes calls from the outbox; several gateways may share one. The first pause grows fourfold each time."""

    outbox: Outbox
    store: JobStore
    job_view: Callable[[Job], JobView]
    transport: WebhookTransport
    metrics: Metrics
    calls: RedisCalls
    first_pause: float
    silent: SilentHosts = field(default_factory=SilentHosts)
    owners: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        """Deliver until canceled."""
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                for due in await self._due(AT_ONCE - len(running)):
                    self.owners[due.owner] += 1
                    task = asyncio.create_task(self._attend(due))
                    running.add(task)
                    task.add_done_callback(running.discard)
                await asyncio.sleep(PERIOD_SECONDS)
        finally:
            for task in running:
                task.cancel()

    async def deliver(self, due: Due) -> None:
        """Make one call and note what became of it. Raises NotTried, StoreUnavailable."""
        job = await self.calls.call(self.store.get, due.job_id)
        if job is None or job.webhook_url is None:
            return  # the record was deleted meanwhile, its place in the outbox with it
        if self.silent.is_resting(job.webhook_url):
            raise NotTried("the host did not answer a moment ago")
        began, at = time.monotonic(), datetime.now(UTC)
        outcome, status, detail = await self._call(job, job.webhook_url, at)
        again = self._pause(due.tries) if outcome == "failed" and due.tries + 1 < TRIES else None
        attempt = Attempt(
            at=at,
            outcome=outcome,
            status=status,
            detail=detail,
            seconds=round(time.monotonic() - began, 3),
            next_at=at + timedelta(seconds=again) if again is not None else None,
        )
        await self.calls.call(self.outbox.note, job.id, attempt, again)
        self.metrics.webhooks.labels(outcome).inc()
        log.info("webhook of job %s: %s %s", job.id, outcome, status or detail)

    async def _due(self, most: int) -> list[Due]:
        try:
            return (
                await self.calls.call(self.outbox.due, most, LEASE_SECONDS, PER_OWNER, self.owners) if most > 0 else []
            )
        except StoreUnavailable as away:
            log.warning("webhooks wait: %s", away)
            return []

    async def _attend(self, due: Due) -> None:
        try:
            await self.deliver(due)
        except (NotTried, ContractError) as reason:
            log.info("webhook of job %s is tried again later: %s", due.job_id, reason)
        finally:
            self.owners[due.owner] -= 1
            if not self.owners[due.owner]:
                del self.owners[due.owner]

    async def _call(self, job: Job, url: str, at: datetime) -> tuple[Outcome, int | None, str]:
        body = self._body(job)
        secret = await self.calls.call(self.outbox.secret, job.owner)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "stylize",
            "webhook-id": job.id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign(job.id, at, body),
        }
        try:
            status = await self.transport.post(url, headers, body.encode(), job.owner)
        except TargetRefused as refusal:
            return "refused", None, str(refusal)
        except NotDelivered as fault:
            if fault.silent:
                self.silent.note_silence(url)
            return "failed", None, str(fault)
        self.silent.note_answer(url)
        if 200 <= status < 300:
            return "delivered", status, ""
        if status == GONE:
            return "gone", status, "the receiver wants no more calls"
        return "failed", status, "redirects are not followed" if 300 <= status < 400 else ""

    def _body(self, job: Job) -> str:
        finished = job.finished_at.isoformat() if job.finished_at else ""
        data = self.job_view(job).model_dump(mode="json")
        return json.dumps({"type": f"job.{job.state}", "timestamp": finished, "data": data}, separators=(",", ":"))

    def _pause(self, tries: int) -> float:
        pause: float = min(self.first_pause * GROWTH**tries, LONGEST_PAUSE)
        return pause * random.uniform(0.9, 1.1)
