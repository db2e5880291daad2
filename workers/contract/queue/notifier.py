"""Tells workers that a job waits. A notification is a hint; a lost one costs time, never a job."""

import json
import logging
import threading
import time
from base64 import b64decode, b64encode
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from celery import Celery
from redis import Redis

from workers.contract.jobs.models import Priority
from workers.contract.queue.celery import WAKE, create_celery, queue_name
from workers.contract.runtime.tracing import record_span

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.01
"""Notifications that come this soon after others go out together."""
MOST_WAITING = 32
"""Wake-ups kept per Celery queue: enough for so many idle workers, since each worker woken drains the store."""


@dataclass(frozen=True)
class Notification:
    """A wake-up that waits to go out, since when, and the traceparent of who asked for it."""

    job_id: str
    trace: str | None
    since: datetime = field(default_factory=lambda: datetime.now(UTC))


class WorkerNotifier:
    """Sends from a thread of its own: at once when quiet, bundled under load. Never blocks nor fails the caller."""

    def __init__(self, redis_url: str, redis: Redis) -> None:
        """Start the thread; it sends over the process's client. Raises Misconfigured for a bad URL."""
        self._app: Celery = create_celery(redis_url)
        self._redis = redis
        self._templates: dict[str, MessageTemplate] = {}
        self._pending: dict[str, list[Notification]] = defaultdict(list)
        self._changed = threading.Condition()
        self._closed = False
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)
        self._thread.start()

    @property
    def failures(self) -> int:
        """How many notifications were given up because Redis did not take them."""
        return self._failures

    def notify(self, job_id: str, queue: str, priority: Priority, trace: str | None = None) -> None:
        """Have a worker of the queue woken soon. Returns at once, raises nothing."""
        with self._changed:
            waiting = self._pending[queue_name(queue, priority)]
            if len(waiting) < MOST_WAITING:
                waiting.append(Notification(job_id, trace))
            self._changed.notify()

    def close(self, timeout: float = 1.0) -> None:
        """Send what is pending, waiting at most `timeout` seconds, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while notifications := self._await_pending():
            for queue, waiting in notifications.items():
                self._send(queue, waiting)
            time.sleep(PAUSE_SECONDS)

    def _await_pending(self) -> dict[str, list[Notification]]:
        """Return what is pending as soon as there is something; nothing once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closed)
            notifications, self._pending = self._pending, defaultdict(list)
            return notifications

    def _send(self, queue: str, notifications: list[Notification]) -> None:
        """Put the wake-ups into the list that kombu reads; of too many the oldest stay, since all are alike."""
        try:
            template = self._templates.get(queue) or self._templates.setdefault(
                queue, MessageTemplate(self._app, queue)
            )
            waiting = self._redis.lpush(queue, *(template.message(one.job_id) for one in notifications))
            if waiting > MOST_WAITING:
                self._redis.ltrim(queue, -MOST_WAITING, -1)
            for one in notifications:
                record_span("ring", one.trace, one.since, datetime.now(UTC))
        except Exception as fault:  # noqa: BLE001  whatever it is, the thread goes on and the sweeper heals
            self._failures += len(notifications)
            log.warning("could not notify the workers of %s, the sweeper will: %s", queue, fault)


JOB = "the-job-of-the-template"


class MessageTemplate:
    """One queue's wake-ups: Celery writes one to a broker in memory, and only the ids in it change after that.

    To have Celery send each one costs the gateway a seventh more processor time per upload.
    """

    def __init__(self, app: Celery, queue: str) -> None:
        """Have Celery write the message for one queue."""
        with app.connection_for_write("memory://") as connection:
            channel = connection.channel()
            channel.queue_declare(queue=queue)
            sent = app.send_task(WAKE, (JOB,), queue=queue, producer=connection.Producer(channel))
            message = channel._get(queue)
        self._text = json.dumps(message)
        self._body = message["body"]
        self._ids = (sent.id, message["properties"]["delivery_tag"])

    def message(self, job_id: str) -> str:
        """Return the wake-up with a job as its hint, as Redis carries it."""
        body = b64decode(self._body).replace(JOB.encode(), job_id.encode())
        text = self._text.replace(self._body, b64encode(body).decode()).replace(JOB, job_id)
        for used in self._ids:
            text = text.replace(used, str(uuid4()))
        return text
