"""The gateway: HTTP in, job out. Never imports torch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline

from app.api import comparisons, docs_page, events, health, images, jobs, methods, problems, styles, stylize, webhooks
from app.api.openapi import SECURITY_SCHEMES, comparison_body, form_body, link, problem_schemas
from app.capabilities import Capabilities
from app.dependencies import build_url_policy, open_state
from app.middleware.browser import HostMiddleware
from app.middleware.head import HeadMiddleware
from app.middleware.metrics import RequestMetricsMiddleware
from app.middleware.security_headers import SecurityHeadersMiddleware
from app.observability.metrics import Metrics, own_version
from app.openai_api import routes as openai_routes
from app.schemas.webhook import WebhookView
from app.settings import GatewaySettings
from app.studio import page
from app.uploads.form_schema import StylizeSchema, build_stylize_schema
from workers.contract.runtime.tracing import open_tracing

TITLE = "Stylize"
PARTS = (
    *(stylize, jobs, images, events, comparisons, styles, openai_routes, methods, webhooks, health),
    *(page, docs_page),
)
ABOUT = """Reference-image stylization: send a style image and a prompt, choose a method, get pictures in that style.

`POST /stylize` answers 202 with a job. Learn that it is done in the way that suits you: poll `GET /jobs/{id}`, ask with
`Prefer: wait=30`, follow `GET /jobs/{id}/events`, or have your `webhook_url` called. Then fetch its pictures.

Where the host has API keys, every request brings one: `Authorization: Bearer stylize_...`; another key's job is 404.
Errors are RFC 9457 problem documents with a stable `type`; 429 and 503 say in `Retry-After` when to try again."""


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

    app = FastAPIOffline(
        title=TITLE,
        version=own_version(),
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # FastAPI's own spans carry whole addresses
    )
    add_middlewares(app, settings, metrics)
    problems.install(app)
    for part in PARTS:
        app.include_router(part.router)
    app.mount("/studio", page.parts)
    app.webhooks.post("job", summary="A job is final", status_code=204)(receive_webhook)
    describe(app, capabilities, schema)
    return app


def add_middlewares(app: FastAPI, settings: GatewaySettings, metrics: Metrics) -> None:
    """Lay the middlewares around the routes, from the inside out."""
    app.add_middleware(HostMiddleware, settings=settings)
    app.add_middleware(RequestMetricsMiddleware, metrics=metrics)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(SecurityHeadersMiddleware)


async def receive_webhook(body: WebhookView) -> None:
    """Sent to the job's `webhook_url` with the headers `webhook-id` (the job's id), `-timestamp` and `-signature`.

    Any 2xx within 5 s takes it; 410 ends it; anything else is tried again for hours.
    """


def describe(app: FastAPI, capabilities: Capabilities, schema: StylizeSchema) -> None:
    """Complete the OpenAPI document with the forms that depend on what the host offers."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=ABOUT,
                routes=app.routes,
                webhooks=app.webhooks.routes,
            )
            document["paths"]["/stylize"]["post"]["requestBody"] = form_body(capabilities, schema)
            document["paths"]["/comparisons"]["post"]["requestBody"] = comparison_body(capabilities, schema)
            document["components"]["schemas"] |= problem_schemas()
            link(document)
            document["components"]["securitySchemes"] = SECURITY_SCHEMES
            document["security"] = [{name: []} for name in SECURITY_SCHEMES] + [{}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
