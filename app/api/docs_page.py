"""`GET /openapi.json`, and `GET /docs`: Swagger's page from our own files, under a policy that lets nothing else run.

Where there are API keys, both need one. A browser asks for it as the password of HTTP Basic, which opens nothing else.
"""

import base64
import hashlib
import json
import re
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Depends
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from app import dependencies
from app.api.conditional import IfNoneMatch, document_response
from app.errors import Unauthorized

FILES = "static-offline-docs"
"""Where the page's files are. All addresses are relative: the service may stand behind a path."""
INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.S)
files = StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static")
"""The application that serves them."""


async def reader(request: Request) -> None:
    """Let in who has a key, as a bearer token or as the password of HTTP Basic. Raises as `dependencies.caller`."""
    headers = MutableHeaders(scope={"headers": list(request.scope["headers"])})
    if password := password_of(headers.get("authorization", "")):
        headers["authorization"] = f"Bearer {password}"
    try:
        await dependencies.caller(Request({**request.scope, "headers": headers.raw}))
    except Unauthorized as fault:
        fault.headers["WWW-Authenticate"] = 'Basic realm="stylize: an API key as the password", charset="UTF-8"'
        raise


def password_of(authorization: str) -> str:
    """Return the password that an `Authorization` header of HTTP Basic brings; nothing for any other."""
    scheme, _, text = authorization.partition(" ")
    try:
        given = base64.b64decode(text.strip(), validate=True) if scheme.lower() == "basic" else b""
        return given.decode("ascii").partition(":")[2]
    except ValueError:
        return ""


router = APIRouter(include_in_schema=False, dependencies=[Depends(reader)])


@router.get("/openapi.json")
async def read_document(request: Request, if_none_match: IfNoneMatch = None) -> Response:
    """The OpenAPI document."""
    return document_response(json.dumps(request.app.openapi(), separators=(",", ":")), if_none_match)


@router.get("/docs")
async def read_docs() -> Response:
    """The documentation of the API."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Stylize API",
        oauth2_redirect_url=None,
        swagger_js_url=f"{FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{FILES}/swagger-ui.css",
        swagger_favicon_url=f"{FILES}/favicon.png",
    )
    page.headers["Content-Security-Policy"] = policy(bytes(page.body))
    return page


def policy(page: bytes) -> str:
    """Return the policy of a page that runs our files, and its own inline scripts by their hashes."""
    hashes = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in INLINE_SCRIPT.findall(page))
    scripts = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
