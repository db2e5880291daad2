"""The OpenAPI document, completed: forms that depend on the methods, versions, tags, links and headers."""

from collections.abc import Collection, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api.document.examples import show_examples
from app.api.document.forms import SECURITY_SCHEMES, comparison_body, form_body, link, problem_schemas
from app.api.document.headers import HEADERS, declare_headers
from app.api.document.texts import describe
from app.capabilities import Capabilities
from app.uploads.form_schema import StylizeSchema

ABOUT = """Reference-image stylization: send a style image and a prompt, choose a method, get pictures in that style.

`POST /v1/stylize` answers 202 with a job. Learn that it is done in the way that suits you: poll `GET /v1/jobs/{id}`,
ask with `Prefer: wait=30`, follow `GET /v1/jobs/{id}/events`, or have your `webhook_url` called. Then fetch the
pictures.

Where the host has API keys, every request brings one: `Authorization: Bearer stylize_...`; another key's job is 404.
Errors are RFC 9457 problem documents with a stable `type`; 429 and 503 say in `Retry-After` when to try again.

The paths under `/v1` are the ones to use; the same paths without it are aliases. Within `/v1` things are added, never
removed or changed: clients pass over members that they do not know."""
TAGS = {
    "stylize": "Ask for pictures.",
    "jobs": "Look at jobs, follow and cancel them, fetch their pictures.",
    "comparisons": "Several methods, strengths or seeds from the same references, as one group.",
    "styles": "References that are saved once and used by id.",
    "openai": "The image API of OpenAI, for clients that speak it.",
    "methods": "What can be asked for: the techniques and the models.",
    "webhooks": "What was sent to a job's webhook, and the secret that signs it.",
    "operation": "For those who run the service: is it alive, can it serve, what does it do.",
}
UNUSED = ("HTTPValidationError", "ValidationError")
"""FastAPI's own schemas of an error; ours are problem documents."""
EVENTS = "text/event-stream"


def build_document(
    app: FastAPI, capabilities: Capabilities, schema: StylizeSchema, versioned: Collection[str], public_url: str | None
) -> dict[str, Any]:
    """Return the document of an application whose paths with a `versioned` first segment are those under /v1."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=ABOUT,
        routes=app.routes,
        webhooks=app.webhooks.routes,
        servers=[{"url": public_url or "/"}],
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        contact={"name": "The operator of this host"},
    )
    paths, components = document["paths"], document["components"]
    paths["/stylize"]["post"]["requestBody"] = form_body(capabilities, schema)
    paths["/comparisons"]["post"]["requestBody"] = comparison_body(capabilities, schema)
    for name in UNUSED:
        components["schemas"].pop(name, None)
    components["schemas"] |= problem_schemas()
    components["securitySchemes"], components["headers"] = SECURITY_SCHEMES, HEADERS
    document["security"] = [{name: []} for name in SECURITY_SCHEMES] + [{}]
    link(document)
    describe(document)
    show_examples(document)
    for verb, operation in operations(document):
        _describe_events(operation)
        declare_headers(verb, operation)
    document["paths"] = {_versioned(path, versioned): item for path, item in paths.items()}
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each operation of the paths with its method, in lower case."""
    for item in document["paths"].values():
        yield from item.items()


def _versioned(path: str, versioned: Collection[str]) -> str:
    return f"/v1{path}" if path.split("/")[1] in versioned else path


def _describe_events(operation: dict[str, Any]) -> None:
    """Say of a stream what generators of clients understand: it is text; FastAPI's keyword is of OpenAPI 3.2."""
    for response in operation["responses"].values():
        if EVENTS in response.get("content", {}):
            response["content"][EVENTS] = {"schema": {"type": "string", "description": "Server-Sent Events"}}
