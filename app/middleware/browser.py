"""What a browser may be made to do to us: only pages of our own names read, and only our own pages write.

A page of another site can resolve its own name to our address (DNS rebinding), so a request must name a host of ours.
It can also send forms across sites, so while no key is needed an unsafe method must not come from a foreign page.
Programs send neither `Origin` nor `Sec-Fetch-Site` and are not asked for them.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import answer
from app.errors import Forbidden, Misdirected
from app.settings import GatewaySettings

PROBES = {"/livez", "/readyz", "/metrics"}
"""Asked by address, and without anything to tell a page."""
SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}
FOREIGN = {"cross-site", "same-site"}
DEFAULT_PORTS = {"http": 80, "https": 443}
ANY = "*"
MISDIRECTED = Misdirected(
    "this service does not answer to that host name; the operator adds names in STYLIZE_GATEWAY_ALLOWED_HOSTS or "
    "STYLIZE_GATEWAY_PUBLIC_URL"
)


def host_of(authority: str) -> str:
    """Return the name or address in a Host header: lower case, without port, brackets and the root's dot.

    What is more than a host and a port is no host: readers disagree on which name it means.
    """
    try:
        parts = urlsplit(f"//{authority}")
        whole = parts.netloc == authority and "@" not in authority and parts.port != 0
        return (parts.hostname or "").removesuffix(".") if whole else ""
    except ValueError:
        return ""


def is_loopback_host(host: str) -> bool:
    """Return whether a host means this machine whatever DNS says."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class HostMiddleware:
    """Answers 421 to a request whose host is not ours."""

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        self._app = app
        public = urlsplit(settings.gateway_public_url or "").netloc.rpartition("@")[2]
        names = (*settings.gateway_allowed_hosts, settings.gateway_host, public)
        self._hosts = frozenset(filter(None, map(host_of, names)))
        self._any = ANY in settings.gateway_allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http" or scope["path"] in PROBES or self._is_ours(scope):
            return await self._app(scope, receive, send)
        await answer(MISDIRECTED)(scope, receive, send)

    def _is_ours(self, scope: Scope) -> bool:
        authority = Headers(scope=scope).get("host")
        if authority is None or self._any:  # HTTP/1.0 needs none
            return True
        host = host_of(authority)
        reached = scope["server"][0] if scope.get("server") else None
        return is_loopback_host(host) or host in self._hosts or (bool(host) and host == reached)


def refuse_foreign_page(method: str, headers: Headers, public_url: str | None) -> None:
    """Raise Forbidden when an unsafe method comes from a page that is not ours."""
    if method in SAFE:
        return
    authority = headers.get("host", "")
    pages = headers.getlist("origin")
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
