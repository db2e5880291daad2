"""`GET /docs`: Swagger's page from our own files, under a policy that lets nothing else run."""

import base64
import hashlib
import re

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

FILES = "static-offline-docs"
"""Where FastAPIOffline mounts them. All addresses are relative: the service may stand behind a path."""
INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.S)


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
