"""Which hosts are ours, and which port: a page of another site can resolve its own name to our address (DNS rebinding).

So a request must name a host of ours; what pages of other sites may send is in `auth.foreign_page`.
"""

from collections.abc import Awaitable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import problem_response
from app.errors import Misdirected, NotFound
from app.settings import GatewaySettings

METRICS = "/metrics"
PROBES = {"/livez", "/readyz", METRICS}
"""Asked by address, and without anything to tell a page."""
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
    """Answers 421 to a request whose host is not ours, 404 on the port for metrics to all but these."""

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        self._app = app
        public = urlsplit(settings.gateway_public_url or "").netloc.rpartition("@")[2]
        names = (*settings.gateway_allowed_hosts, settings.gateway_host, public)
        self._hosts = frozenset(filter(None, map(host_of, names)))
        self._any = ANY in settings.gateway_allowed_hosts
        self._metrics_port = settings.gateway_metrics_port

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request, or refuse it; what it returns is the application's own or the refusal's."""
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        if self._is_elsewhere(scope):
            return problem_response(NotFound("there is nothing at this address"))(scope, receive, send)
        if scope["path"] in PROBES or self._is_ours(scope):
            return self._app(scope, receive, send)
        return problem_response(MISDIRECTED)(scope, receive, send)

    def _is_elsewhere(self, scope: Scope) -> bool:
        """Return whether a path is not served on the port that was asked: metrics may have one of their own."""
        if self._metrics_port is None:
            return False
        server = scope.get("server") or ("", None)
        return bool((server[1] == self._metrics_port) != (scope["path"] == METRICS))

    def _is_ours(self, scope: Scope) -> bool:
        authority = Headers(scope=scope).get("host")
        if authority is None or self._any:  # HTTP/1.0 needs none
            return True
        host = host_of(authority)
        reached = scope["server"][0] if scope.get("server") else None
        return is_loopback_host(host) or host in self._hosts or (bool(host) and host == reached)
