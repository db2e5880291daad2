"""How uvicorn is to serve the gateway."""

import uvicorn
from starlette.types import ASGIApp

from app.protocol import bounded
from app.settings import GatewaySettings


def configuration(application: ASGIApp, settings: GatewaySettings) -> uvicorn.Config:
    """Return how uvicorn is to serve: one process, quiet, stopping within the grace time."""
    return uvicorn.Config(
        application,
        loop="uvloop",
        http=bounded(settings.gateway_header_seconds),
        ws="none",
        lifespan="on",
        access_log=False,  # paths may carry signatures
        log_config=None,
        proxy_headers=False,  # nothing depends on the peer's address
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=settings.gateway_grace_seconds,
    )
