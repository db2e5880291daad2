"""What the routes work with: made once when the gateway starts, handed to each request."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.intake.decoder import Decoder
from app.intake.upload import Budget
from app.links import Links
from app.metrics import Metrics
from app.offer import Offer
from app.readiness import Readiness
from app.settings import GatewaySettings
from workers.contract.blobs import BlobStore, open_blobs
from workers.contract.doorbell import Doorbell
from workers.contract.store import JobStore

ANYONE = "anyone"
"""The owner of all jobs while no keys are configured."""


@dataclass(frozen=True)
class Services:
    """The gateway's connections and rules."""

    settings: GatewaySettings
    offer: Offer
    links: Links
    metrics: Metrics
    budget: Budget
    store: JobStore
    blobs: BlobStore
    doorbell: Doorbell
    decoder: Decoder
    readiness: Readiness

    @classmethod
    def open(cls, settings: GatewaySettings, metrics: Metrics) -> "Services":
        """Return the services, not yet connected; to be called in the event loop. Raises Misconfigured."""
        key = settings.gateway_url_key
        store, blobs = JobStore.from_settings(settings), open_blobs(settings)
        return cls(
            settings=settings,
            offer=Offer(settings.bases()),
            links=Links(
                settings.gateway_public_url or "",
                key.get_secret_value().encode() if key else b"",
                settings.gateway_url_seconds,
            ),
            metrics=metrics,
            budget=Budget(requests=settings.gateway_uploads, size=settings.gateway_upload_bytes),
            store=store,
            blobs=blobs,
            doorbell=Doorbell(settings.redis_url),
            decoder=Decoder(parallel=settings.gateway_decoders, seconds=settings.gateway_decode_seconds),
            readiness=Readiness(store, blobs, settings.models),
        )

    async def close(self) -> None:
        """Ring what is pending and end the decoder."""
        self.doorbell.close()
        await self.decoder.close()


def services(request: Request) -> Services:
    """Return the services of the application that serves a request."""
    found = request.app.state.services
    assert isinstance(found, Services)
    return found


def owner() -> str:
    """Return who calls."""
    return ANYONE


With = Annotated[Services, Depends(services)]
Owner = Annotated[str, Depends(owner)]
