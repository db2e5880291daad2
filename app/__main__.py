"""`python -m app`: the gateway process."""

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack

from app.auth.anonymous import check_exposure, is_loopback
from app.auth.key_store import KeyStore
from app.auth.rate_limit import RateLimits
from app.main import create_app
from app.server.uvicorn import GatewayServer, build_config
from app.settings import GatewaySettings
from workers.contract.blobs import open_blobs
from workers.contract.errors import Misconfigured, StoreUnavailable
from workers.contract.jobs.store import JobStore
from workers.contract.runtime import logs
from workers.contract.runtime.redis import connect

log = logging.getLogger("app")

BACKLOG = 2048
THREADS_SECONDS = 1.0


class CannotListen(Exception):
    """Nobody can listen on the address; the text says why."""


def main() -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status: 0, or 2 after one line about bad configuration."""
    try:
        settings = GatewaySettings.read()
        logs.configure("gateway", settings)
        check(settings)
        application = create_app(settings)
        ports = (settings.gateway_port, settings.gateway_metrics_port)
        listeners = [listen(settings.gateway_host, port) for port in ports if port is not None]
    except (Misconfigured, CannotListen) as fault:
        print(f"stylize gateway: {fault}", file=sys.stderr)
        return 2
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: None)  # uvicorn raises them again after a graceful stop
    gc.freeze()  # what is there now stays: the collector need not look at it again
    server = GatewayServer(build_config(application, settings), lambda: application.state.stopping())
    with ExitStack() as opened:
        for listener in map(opened.enter_context, listeners):
            log.info("listening on %s:%d", *listener.getsockname()[:2])
        server.run(sockets=listeners)
    status = 0 if server.started else 1
    leave_hanging_threads(status)
    return status


def leave_hanging_threads(status: int) -> None:
    """End the process at once if a thread still waits for a store that does not answer: Python would wait for it."""
    until = time.monotonic() + THREADS_SECONDS
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                logging.shutdown()
                os._exit(status)


def check(settings: GatewaySettings) -> None:
    """Raise Misconfigured when Redis or the blob store are not as we need them; either may still be on its way up."""
    warn_of_relative_links(settings)
    open_blobs(settings)
    RateLimits(settings.gateway_limits_url)
    with connect(settings.redis_url) as redis:  # before the process that serves has its own
        check_exposure(settings, KeyStore(redis))
        verify(JobStore.from_settings(settings, redis))


def warn_of_relative_links(settings: GatewaySettings) -> None:
    """Say that whoever gets a webhook cannot follow its links, where others than this machine's own are called."""
    alone = is_loopback(settings.gateway_host) and not settings.gateway_allowed_hosts
    if not settings.gateway_public_url and not (alone and not settings.gateway_webhook_allow):
        log.warning(
            "STYLIZE_GATEWAY_PUBLIC_URL is not set: links in webhooks and answers are relative, such as /jobs/ID; set "
            "it to the address by which callers reach this service"
        )


def verify(store: JobStore) -> None:
    """Raise Misconfigured when Redis loses jobs; it may still be on its way up."""
    try:
        store.verify()
    except StoreUnavailable as away:
        log.warning("Redis is not there yet: %s", away)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as fault:
        listener.close()
        raise CannotListen(f"cannot listen on {host}:{port}: {os.strerror(fault.errno or 0)}") from fault
    return listener


if __name__ == "__main__":
    sys.exit(main())
