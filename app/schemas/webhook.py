"""What callers get to see of webhooks, as pydantic models: the OpenAPI document derives from them."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from app.schemas.job import JobView
from workers.contract.jobs.outbox import Attempt


class DeliveriesView(BaseModel):
    """What was sent to a job's webhook, the oldest first; `next_at` is null when it is not tried again."""

    deliveries: list[Attempt]


class SecretView(BaseModel):
    """What signs the caller's webhooks."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class WebhookView(BaseModel):
    """What a webhook brings, signed after Standard Webhooks with the secret of `GET /webhooks/secret`."""

    type: Literal["job.succeeded", "job.failed", "job.canceled"]
    timestamp: datetime
    data: JobView
