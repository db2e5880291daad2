"""Pages of other sites can send forms to us: while no key is needed, an unsafe method must come from a page of ours.

Programs send neither `Origin` nor `Sec-Fetch-Site` and are not asked for them.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from app.errors import Forbidden

SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}
FOREIGN = {"cross-site", "same-site"}
DEFAULT_PORTS = {"http": 80, "https": 443}


def refuse_foreign_page(method: str, headers: Headers, public_url: str | None, invited: Collection[str] = ()) -> None:
    """Raise Forbidden when an unsafe method comes from a page that is neither ours nor of an `invited` origin."""
    authority = headers.get("host", "")
    pages = headers.getlist("origin")
    if method in SAFE or (pages and set(pages) <= set(invited)):
        return
    if headers.get("sec-fetch-site", "").lower() in FOREIGN or not all(
        _is_own(page, authority, public_url) for page in pages
    ):
        raise Forbidden("a page of another site may not send this while the service needs no API key")


def _is_own(origin: str, authority: str, public_url: str | None) -> bool:
    """Return whether a page's origin is where the request went, or the public address. TLS may end before us."""
    try:
        scheme = urlsplit(origin).scheme
        return scheme in DEFAULT_PORTS and _site(origin) in (_site(f"{scheme}://{authority}"), _site(public_url or ""))
    except ValueError:
        return False


def _site(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
