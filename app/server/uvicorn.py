"""How uvicorn is to serve the gateway."""

from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from app.server.http_protocol import build_protocol
from app.settings import GatewaySettings


def build_config(application: ASGIApp, settings: GatewaySettings) -> uvicorn.Config:
    """Return how uvicorn is to serve: one process, quiet, stopping within the grace time."""
    return uvicorn.Config(
        application,
        loop="uvloop",
        http=build_protocol(
            header_seconds=settings.gateway_header_seconds,
            body_seconds=settings.gateway_form_seconds,
            send_seconds=settings.gateway_send_seconds,
            connections=settings.gateway_connections,
        ),
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


class GatewayServer(uvicorn.Server):
    """Calls `stopping` at the first signal: who only waits need not be waited for."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the stop."""
        if self.started:
            self._stopping()
        super().handle_exit(sig, frame)
