"""The gateway: HTTP in, job out. Never imports torch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

from app.api import comparisons, docs_page, events, health, images, jobs, methods, problems, styles, stylize, webhooks
from app.api.document.build import ABOUT, build_document
from app.capabilities import Capabilities
from app.dependencies import build_url_policy, open_state
from app.middleware.browser import HostMiddleware
from app.middleware.cross_origin import CrossOriginMiddleware
from app.middleware.metrics import RequestMetricsMiddleware
from app.middleware.path import VERSION, PathMiddleware, first_segment
from app.middleware.security_headers import SecurityHeadersMiddleware
from app.observability.metrics import Metrics, own_version
from app.openai_api import routes as openai_routes
from app.schemas.webhook import WebhookView
from app.settings import GatewaySettings
from app.studio import page
from app.uploads.form_schema import build_stylize_schema
from workers.contract.runtime.tracing import open_tracing

TITLE = "Stylize"
VERSIONED = (stylize, jobs, images, events, comparisons, styles, methods, webhooks)
"""The API proper: `/v1` stands before its paths, and may be left away."""
PLAIN = (openai_routes, health, page, docs_page)
MOUNTED: dict[str, ASGIApp] = {"studio": page.parts, docs_page.FILES: docs_page.files}
COMPRESSED_BYTES = 2048
"""A smaller answer is sent as it is: one packet more or less."""
COMPRESSION = 5


def create_app(settings: GatewaySettings) -> FastAPI:
    """Return the application; it connects to what it needs when it starts. Raises Misconfigured."""

    capabilities, metrics = Capabilities.of(settings.bases(), settings.model_dir), Metrics()
    schema = build_stylize_schema(capabilities, build_url_policy(settings))
    close_tracing = open_tracing("gateway", settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with open_state(app, settings, capabilities, schema, metrics):
                yield
        finally:
            close_tracing()

    app = FastAPI(
        title=TITLE,
        version=own_version(),
        description=ABOUT,
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,  # a redirect would name the address that we are reached by, not that of the caller
        generate_unique_id_function=lambda route: route.name,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # FastAPI's own spans carry whole addresses
    )
    add_middlewares(app, settings, metrics)
    problems.install(app)
    for part in (*VERSIONED, *PLAIN):
        app.include_router(part.router)
    for name, files in MOUNTED.items():
        app.mount(f"/{name}", files)
    app.webhooks.post("job", summary="A job is final", status_code=204, tags=["webhooks"])(receive_webhook)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            public_url = settings.gateway_public_url
            app.openapi_schema = build_document(app, capabilities, schema, segments_of(VERSIONED), public_url)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def segments_of(parts: tuple[Any, ...], below: str = "") -> frozenset[str]:
    """Return the first segments of the paths that these parts serve, of those below a path what comes first there."""
    return frozenset(first_segment(route.path.removeprefix(below)) for part in parts for route in part.router.routes)


def add_middlewares(app: FastAPI, settings: GatewaySettings, metrics: Metrics) -> None:
    """Lay the middlewares around the routes, from the inside out."""
    app.add_middleware(HostMiddleware, settings=settings)
    app.add_middleware(GZipMiddleware, minimum_size=COMPRESSED_BYTES, compresslevel=COMPRESSION)
    app.add_middleware(RequestMetricsMiddleware, metrics=metrics, access_log=settings.gateway_access_log)
    if settings.gateway_cors_origins:
        app.add_middleware(CrossOriginMiddleware, origins=settings.gateway_cors_origins)
    app.add_middleware(SecurityHeadersMiddleware)
    aliased = segments_of(VERSIONED) - segments_of((openai_routes,), below=VERSION)  # what it has under /v1 is there
    plain = segments_of((*VERSIONED, *PLAIN)) | MOUNTED.keys()
    app.add_middleware(PathMiddleware, settings.gateway_public_url, aliased, plain)


async def receive_webhook(body: WebhookView) -> None:
    """Sent to the job's `webhook_url` with the headers `webhook-id` (the job's id), `-timestamp` and `-signature`.

    Any 2xx within 5 s takes it; 410 ends it; anything else is tried again for hours.
    """
