"""What the routes work with: built once when the gateway starts; each route names what it uses."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any, TypeVar

import certifi
from fastapi import Depends, FastAPI
from starlette.requests import Request

from app.auth.anonymous import keys_always
from app.auth.api_key import Scope
from app.auth.foreign_page import refuse_foreign_page
from app.auth.key_store import KeyStore
from app.auth.keyring import ANYONE, REFUSAL_SECONDS, Caller, KeyRing
from app.auth.rate_limit import RateLimits
from app.auth.signed_urls import Links
from app.capabilities import Capabilities
from app.errors import Forbidden, Unauthorized
from app.observability.metrics import Metrics
from app.services.admission import InputWriter, JobAdmission
from app.services.comparisons.contact_sheet import ContactSheets
from app.services.comparisons.service import ComparisonService
from app.services.comparisons.submit import ComparisonSubmitter
from app.services.delete import JobDeleter
from app.services.job_events import JobEvents
from app.services.job_view import job_view
from app.services.job_watch import JobWatch
from app.services.jobs import JobService
from app.services.readiness import Readiness
from app.services.stored_inputs import StoredInputs
from app.services.styles.precompute import PrecomputeService
from app.services.styles.precompute_requests import PrecomputeRequests
from app.services.styles.save import StyleSaver
from app.services.styles.service import StyleService
from app.services.styles.view import StyleViews
from app.services.submit import JobAnnouncer, Submitter
from app.services.wait import JobWaiter
from app.settings import GatewaySettings
from app.storage.archive import ArchiveSender
from app.storage.blob_calls import BlobCalls
from app.storage.free_space import FreeSpace
from app.storage.redis_calls import RedisCalls
from app.storage.send import BlobSender, SendBudget
from app.uploads.buffers import UploadMemory
from app.uploads.decoder.pool import Decoder
from app.uploads.form_schema import StylizeSchema
from app.uploads.receive import BodyReceiver
from app.uploads.validate import RequestValidator
from app.webhooks.delivery import WebhookDispatcher
from app.webhooks.lookup import Lookup
from app.webhooks.transport import WebhookTransport
from app.webhooks.url_policy import UrlPolicy
from workers.contract.blobs import blob_folder, open_blobs
from workers.contract.jobs.comparisons import ComparisonStore
from workers.contract.jobs.outbox import Outbox
from workers.contract.jobs.previews import PreviewStore
from workers.contract.jobs.store import JobStore
from workers.contract.queue.notifier import WorkerNotifier
from workers.contract.runtime.redis import connect
from workers.contract.styles.precompute import PrecomputeStore
from workers.contract.styles.store import StyleStore

T = TypeVar("T")
READING = ("GET", "HEAD")


class AppState:
    """Everything that one gateway works with. It stays here: nothing but this module knows it."""

    def __init__(
        self, settings: GatewaySettings, capabilities: Capabilities, schema: StylizeSchema, metrics: Metrics
    ) -> None:
        """Connect nothing yet; to be called in the event loop. Raises Misconfigured."""
        self.settings, self.capabilities, self.schema, self.metrics = settings, capabilities, schema, metrics
        self.redis = connect(settings.redis_url)
        self.calls, self.blob_calls = RedisCalls(), BlobCalls(seconds=settings.gateway_blob_seconds)
        self.store = JobStore.from_settings(settings, self.redis)
        self.previews, self.outbox = PreviewStore(self.redis), Outbox(self.redis)
        self.blobs = open_blobs(settings)
        self.sender = BlobSender(self.blobs, self.blob_calls, SendBudget(settings.gateway_send_bytes))
        self.archives = ArchiveSender(self.sender)
        self.memory = UploadMemory(requests=settings.gateway_uploads, size=settings.gateway_upload_bytes)
        self.decoder = Decoder(self.memory, parallel=settings.gateway_decoders, seconds=settings.gateway_decode_seconds)
        self.notifier = WorkerNotifier(settings.redis_url, self.redis)
        self.links, self.keep = build_links(settings), timedelta(hours=settings.retention_hours)
        self.keyring = KeyRing(KeyStore(self.redis), always=keys_always(settings))
        self.rates = RateLimits(settings.gateway_limits_url)
        self.watch = JobWatch(
            self.store,
            self.calls,
            refresh=self.keyring.refresh,
            per_caller=settings.gateway_streams_per_caller,
            most=settings.gateway_streams,
        )
        self.bodies = BodyReceiver(self.memory, most=settings.gateway_body_bytes, seconds=settings.gateway_form_seconds)
        self.readiness = Readiness(self.store, self.blobs, settings.models, settings.model_dir)
        self.dispatcher = WebhookDispatcher(
            outbox=self.outbox,
            store=self.store,
            job_view=lambda job: job_view(job, self.links, None, self.keep),
            transport=build_transport(settings),
            metrics=metrics,
            calls=self.calls,
            first_pause=settings.gateway_webhook_pause_seconds,
        )
        self._build_job_services()
        self._build_style_services()
        self._build_comparison_services()

    def _build_job_services(self) -> None:
        store, calls, settings = self.store, self.calls, self.settings
        self.style_store = StyleStore(self.redis)
        self.jobs = JobService(store, self.links, calls, self.keep)
        self.comparison_store = ComparisonStore(self.redis, keep_seconds=self.keep.total_seconds())
        self.deleter = JobDeleter(store, self.comparison_store, self.blobs, calls, self.blob_calls)
        self.waiter = JobWaiter(store, self.watch, self.keyring, calls, settings.gateway_wait_seconds)
        self.events = JobEvents(self.jobs, self.watch, self.keyring, calls, settings.gateway_heartbeat_seconds)
        self.validator = RequestValidator(self.capabilities, self.schema, settings.gateway_max_cost)
        self.admission = JobAdmission(store, self.keyring, self.rates, calls)
        self.stored_inputs = StoredInputs(store, self.style_store, self.decoder, self.schema, calls)
        free_space = FreeSpace(blob_folder(settings), settings.gateway_free_bytes)
        self.writer = InputWriter(
            self.decoder, store.inputs, self.blobs, calls, self.blob_calls, free_space, settings.gateway_owner_bytes
        )
        self.announcer = JobAnnouncer(self.notifier, self.metrics)
        parts = (store, calls, self.validator, self.admission, self.stored_inputs, self.writer, self.announcer)
        self.submitter, self._submit_parts = Submitter(*parts), parts

    def _build_style_services(self) -> None:
        store, calls, preparations = self.store, self.calls, PrecomputeStore(self.redis)
        requests = PrecomputeRequests(self.capabilities, self.settings.gateway_max_cost)
        views = StyleViews(store, preparations, requests, self.links.public_url)
        keep_seconds = self.keep.total_seconds()
        precompute = PrecomputeService(store, preparations, views, self.admission, self.announcer, calls, keep_seconds)
        self.styles = StyleService(self.style_store, views, precompute, calls)
        self.style_saver = StyleSaver(store, self.style_store, requests, precompute, self.admission, self.writer, calls)

    def _build_comparison_services(self) -> None:
        self.comparisons = ComparisonService(
            self.store, self.comparison_store, self.jobs, self.deleter, self.calls, self.links.public_url
        )
        self.sheets = ContactSheets(self.blobs, self.blob_calls)
        self.comparison_submitter = ComparisonSubmitter(*self._submit_parts, self.comparison_store)

    async def close(self) -> None:
        """Send the notifications that are pending and end the decoder."""
        self.watch.close()
        self.notifier.close()
        await self.decoder.close()
        self.memory.close()
        self.blob_calls.close()
        self.calls.close()


@asynccontextmanager
async def open_state(
    app: FastAPI, settings: GatewaySettings, capabilities: Capabilities, schema: StylizeSchema, metrics: Metrics
) -> AsyncIterator[None]:
    """Give an application what its routes work with, and deliver webhooks, while it serves."""
    state = app.state.gateway = AppState(settings, capabilities, schema, metrics)
    app.state.stopping = state.watch.stop
    try:
        await state.decoder.start()
        dispatching = asyncio.create_task(state.dispatcher.run())
        yield
        dispatching.cancel()
        await asyncio.gather(dispatching, return_exceptions=True)
    finally:
        await state.close()


def build_links(settings: GatewaySettings) -> Links:
    """Return what makes and checks the addresses handed out."""
    key, previous = (
        secret.get_secret_value().encode() if secret else b""
        for secret in (settings.gateway_url_key, settings.gateway_url_key_previous)
    )
    return Links(settings.gateway_public_url or "", key, settings.gateway_url_seconds, previous)


def build_url_policy(settings: GatewaySettings) -> UrlPolicy:
    """Return where webhooks may go."""
    return UrlPolicy(allowed=frozenset(settings.gateway_webhook_allow))


def build_transport(settings: GatewaySettings) -> WebhookTransport:
    """Return what posts webhooks; to be called in the event loop."""
    tls = ssl.create_default_context(cafile=certifi.where())
    return WebhookTransport(build_url_policy(settings), find=Lookup().find, tls=tls)


def _state_of(request: Request) -> AppState:
    state = request.app.state.gateway
    assert isinstance(state, AppState)
    return state


def _part(part: Callable[[AppState], T]) -> Any:
    """Return the dependency that gives a route one part of the state."""

    async def get(request: Request) -> T:
        return part(_state_of(request))

    return Depends(get)


SettingsDep = Annotated[GatewaySettings, _part(lambda state: state.settings)]
CapabilitiesDep = Annotated[Capabilities, _part(lambda state: state.capabilities)]
SchemaDep = Annotated[StylizeSchema, _part(lambda state: state.schema)]
MetricsDep = Annotated[Metrics, _part(lambda state: state.metrics)]
StoreDep = Annotated[JobStore, _part(lambda state: state.store)]
PreviewsDep = Annotated[PreviewStore, _part(lambda state: state.previews)]
OutboxDep = Annotated[Outbox, _part(lambda state: state.outbox)]
CallsDep = Annotated[RedisCalls, _part(lambda state: state.calls)]
BlobCallsDep = Annotated[BlobCalls, _part(lambda state: state.blob_calls)]
SenderDep = Annotated[BlobSender, _part(lambda state: state.sender)]
ArchivesDep = Annotated[ArchiveSender, _part(lambda state: state.archives)]
LinksDep = Annotated[Links, _part(lambda state: state.links)]
BodiesDep = Annotated[BodyReceiver, _part(lambda state: state.bodies)]
ReadinessDep = Annotated[Readiness, _part(lambda state: state.readiness)]
JobsDep = Annotated[JobService, _part(lambda state: state.jobs)]
DeleterDep = Annotated[JobDeleter, _part(lambda state: state.deleter)]
WaiterDep = Annotated[JobWaiter, _part(lambda state: state.waiter)]
EventsDep = Annotated[JobEvents, _part(lambda state: state.events)]
SubmitterDep = Annotated[Submitter, _part(lambda state: state.submitter)]
StylesDep = Annotated[StyleService, _part(lambda state: state.styles)]
StyleSaverDep = Annotated[StyleSaver, _part(lambda state: state.style_saver)]
ComparisonsDep = Annotated[ComparisonService, _part(lambda state: state.comparisons)]
ComparisonSubmitterDep = Annotated[ComparisonSubmitter, _part(lambda state: state.comparison_submitter)]
SheetsDep = Annotated[ContactSheets, _part(lambda state: state.sheets)]


def get_stylize_parts(request: Request) -> tuple[BodyReceiver, StylizeSchema, Submitter, JobService, JobWaiter]:
    """Return what the one route without FastAPI's dependencies uses."""
    state = _state_of(request)
    return state.bodies, state.schema, state.submitter, state.jobs, state.waiter


async def caller(request: Request) -> Caller:
    """Return who calls. Raises Unauthorized, Forbidden when the key lacks the scope, RateLimited."""
    state = _state_of(request)
    found = await _identify(state.keyring, state.calls, request.headers.get("authorization"))
    request.state.caller = found
    if found.owner == ANYONE:
        settings = state.settings
        invited = settings.gateway_cors_origins
        refuse_foreign_page(request.method, request.headers, settings.gateway_public_url, invited)
    scope: Scope = "read" if request.method in READING else "write"
    if scope not in found.scopes:
        raise Forbidden(f"this key lacks the scope {scope}")
    if request.method == "POST" and found.rate is not None:
        await state.calls.call(state.rates.count, found)
    return found


async def _identify(keyring: KeyRing, calls: RedisCalls, authorization: str | None) -> Caller:
    """Return who brings a key, which may have been made a moment ago. Raises Unauthorized."""
    came = time.monotonic()
    if keyring.due:
        await calls.call(keyring.refresh)
    try:
        return keyring.caller(authorization)
    except Unauthorized:
        await asyncio.sleep(REFUSAL_SECONDS)
        await calls.call(keyring.refresh, came)
        return keyring.caller(authorization)


async def owner(request: Request) -> str:
    """Return the owner of what the caller makes and sees. Raises as `caller`."""
    return (await caller(request)).owner


async def viewer(request: Request) -> str | None:
    """Return the owner of what the caller sees; None for who brings a signed address instead of a key."""
    signed = _state_of(request).links.key and "signature" in request.query_params
    return None if signed and "authorization" not in request.headers else await owner(request)


CallerDep = Annotated[Caller, Depends(caller)]
OwnerDep = Annotated[str, Depends(owner)]
ViewerDep = Annotated[str | None, Depends(viewer)]
