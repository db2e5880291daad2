"""What the routes work with: made once when the gateway starts, handed to each request."""

import asyncio
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ParamSpec, TypeVar

import certifi
from fastapi import Depends
from starlette.requests import Request

from app.auth.anonymous import keys_always
from app.auth.api_key import Scope
from app.auth.key_store import KeyStore
from app.auth.keyring import ANYONE, REFUSAL_SECONDS, Caller, KeyRing
from app.auth.rate_limit import RateLimits
from app.auth.signed_urls import Links
from app.capabilities import Capabilities
from app.errors import Forbidden, Unauthorized
from app.middleware.browser import refuse_foreign_page
from app.observability.metrics import Metrics
from app.services.job_watch import JobWatch
from app.services.readiness import Readiness
from app.settings import GatewaySettings
from app.storage.blob_calls import BlobCalls
from app.storage.free_space import FreeSpace
from app.storage.send import BlobSender, SendBudget
from app.uploads.buffers import UploadMemory
from app.uploads.decoder.pool import Decoder
from app.webhooks.delivery import WebhookDispatcher
from app.webhooks.lookup import Lookup
from app.webhooks.transport import WebhookTransport
from workers.contract.blobs import BlobStore, blob_folder, open_blobs
from workers.contract.jobs.comparisons import ComparisonStore
from workers.contract.jobs.outbox import Outbox
from workers.contract.jobs.previews import PreviewStore
from workers.contract.jobs.store import JobStore
from workers.contract.queue.notifier import WorkerNotifier
from workers.contract.runtime.redis import connect
from workers.contract.styles.precompute import PrecomputeStore
from workers.contract.styles.store import StyleStore

P = ParamSpec("P")
T = TypeVar("T")
READING = ("GET", "HEAD")
THREADS = 16
"""Calls to Redis under way at the same time."""


@dataclass(frozen=True)
class Services:
    """The gateway's connections and rules."""

    settings: GatewaySettings
    capabilities: Capabilities
    links: Links
    metrics: Metrics
    memory: UploadMemory
    store: JobStore
    styles: StyleStore
    preparations: PrecomputeStore
    previews: PreviewStore
    groups: ComparisonStore
    drawing: asyncio.Semaphore
    blobs: BlobStore
    blob_calls: BlobCalls
    pictures: BlobSender
    free_space: FreeSpace
    doorbell: WorkerNotifier
    decoder: Decoder
    readiness: Readiness
    watch: JobWatch
    ring: KeyRing
    rates: RateLimits
    outbox: Outbox
    deliverer: WebhookDispatcher
    threads: ThreadPoolExecutor

    @classmethod
    def open(cls, settings: GatewaySettings, capabilities: Capabilities, metrics: Metrics) -> "Services":
        """Return the services, not yet connected; to be called in the event loop. Raises Misconfigured."""
        memory = UploadMemory(requests=settings.gateway_uploads, size=settings.gateway_upload_bytes)
        store, blobs, links = JobStore.from_settings(settings), open_blobs(settings), build_links(settings)
        outbox = Outbox(connect(settings.redis_url))
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="redis")
        blob_calls = BlobCalls(seconds=settings.gateway_blob_seconds)
        ring = KeyRing(KeyStore(connect(settings.redis_url)), always=keys_always(settings))
        watch = JobWatch(
            store,
            threads,
            refresh=ring.refresh,
            per_caller=settings.gateway_streams_per_caller,
            most=settings.gateway_streams,
        )
        return cls(
            settings=settings,
            capabilities=capabilities,
            links=links,
            metrics=metrics,
            memory=memory,
            store=store,
            styles=StyleStore(connect(settings.redis_url)),
            preparations=PrecomputeStore(connect(settings.redis_url)),
            previews=PreviewStore(connect(settings.redis_url)),
            groups=ComparisonStore(connect(settings.redis_url), keep_seconds=settings.retention_hours * 3600),
            drawing=asyncio.Semaphore(1),
            blobs=blobs,
            blob_calls=blob_calls,
            pictures=BlobSender(blobs, blob_calls, SendBudget(settings.gateway_send_bytes)),
            free_space=FreeSpace(blob_folder(settings), settings.gateway_free_bytes),
            doorbell=WorkerNotifier(settings.redis_url),
            decoder=Decoder(memory, parallel=settings.gateway_decoders, seconds=settings.gateway_decode_seconds),
            readiness=Readiness(store, blobs, settings.models, settings.model_dir),
            watch=watch,
            ring=ring,
            rates=RateLimits(settings.gateway_limits_url),
            outbox=outbox,
            deliverer=WebhookDispatcher(
                outbox=outbox,
                store=store,
                links=links,
                sender=build_sender(settings),
                metrics=metrics,
                call=lambda function, *args: asyncio.get_running_loop().run_in_executor(threads, function, *args),
                first_pause=settings.gateway_webhook_pause_seconds,
            ),
            threads=threads,
        )

    async def close(self) -> None:
        """Ring what is pending and end the decoder."""
        self.watch.close()
        self.doorbell.close()
        await self.decoder.close()
        self.memory.close()
        self.blob_calls.close()
        self.threads.shutdown(wait=False, cancel_futures=True)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what talks to Redis in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, partial(function, *args, **kwargs))


def build_links(settings: GatewaySettings) -> Links:
    """Return what makes and checks the addresses handed out."""
    key, previous = (
        secret.get_secret_value().encode() if secret else b""
        for secret in (settings.gateway_url_key, settings.gateway_url_key_previous)
    )
    return Links(settings.gateway_public_url or "", key, settings.gateway_url_seconds, previous)


def build_sender(settings: GatewaySettings) -> WebhookTransport:
    """Return what posts webhooks; to be called in the event loop."""
    tls = ssl.create_default_context(cafile=certifi.where())
    return WebhookTransport(settings.webhook_rules(), find=Lookup().find, tls=tls)


async def services(request: Request) -> Services:
    """Return the services of the application that serves a request."""
    found = request.app.state.services
    assert isinstance(found, Services)
    return found


GatewayDep = Annotated[Services, Depends(services)]


async def caller(request: Request, services: GatewayDep) -> Caller:
    """Return who calls. Raises Unauthorized, Forbidden when the key lacks the scope, RateLimited."""
    found = await _known(services, request.headers.get("authorization"))
    request.state.caller = found
    if found.owner == ANYONE:
        refuse_foreign_page(request.method, request.headers, services.settings.gateway_public_url)
    scope: Scope = "read" if request.method in READING else "write"
    if scope not in found.scopes:
        raise Forbidden(f"this key lacks the scope {scope}")
    if request.method == "POST" and found.rate is not None:
        await services.call(services.rates.count, found)
    return found


async def _known(services: Services, authorization: str | None) -> Caller:
    """Return who brings a key, which may have been made a moment ago. Raises Unauthorized."""
    came = time.monotonic()
    if services.ring.due:
        await services.call(services.ring.refresh)
    try:
        return services.ring.caller(authorization)
    except Unauthorized:
        await asyncio.sleep(REFUSAL_SECONDS)
        await services.call(services.ring.refresh, came)
        return services.ring.caller(authorization)


def sharing(request: Request) -> str | None:
    """Return who shares the gateway's memory with others; None while no key tells callers apart."""
    owner: str = request.state.caller.owner
    return None if owner == ANYONE else owner


async def owner(request: Request, services: GatewayDep) -> str:
    """Return the owner of what the caller makes and sees. Raises as `caller`."""
    return (await caller(request, services)).owner


async def viewer(request: Request, services: GatewayDep) -> str | None:
    """Return the owner of what the caller sees; None for who brings a signed address instead of a key."""
    signed = services.links.key and "signature" in request.query_params
    return None if signed and "authorization" not in request.headers else await owner(request, services)


Calling = Annotated[Caller, Depends(caller)]
OwnerDep = Annotated[str, Depends(owner)]
ViewerDep = Annotated[str | None, Depends(viewer)]
