"""The wake-up as Celery's workers read it: cast once by Celery itself, then only filled in."""

import json
from base64 import b64decode, b64encode
from uuid import uuid4

from celery import Celery

from workers.contract.celery_config import WAKE

JOB = "the-job-of-the-mold"


class Mold:
    """One queue's wake-ups: Celery writes one to a broker in memory, and only the ids in it change after that."""

    def __init__(self, app: Celery, queue: str) -> None:
        """Cast the message for one Celery queue."""
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
        for cast in self._ids:
            text = text.replace(cast, str(uuid4()))
        return text
