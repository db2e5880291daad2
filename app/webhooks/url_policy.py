"""May a webhook be called, and where? Never at home: only at public addresses, or where the operator allows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from app.urls import TargetRefused, parse_literal, parse_url

PORTS = frozenset({443, 8443})
OTHERS = "who runs the service can allow others by STYLIZE_GATEWAY_WEBHOOK_ALLOW"
SPECIAL = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "arpa", "onion", "test", "invalid")
"""Last labels of names that are never public."""

NEVER_V4 = tuple(map(IPv4Network, ("192.88.99.0/24", "192.0.0.0/24", "240.0.0.0/4")))
UNICAST_V6 = IPv6Network("2000::/3")
NEVER_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""Protocol assignments with Teredo, documentation, 6to4: these may carry addresses of other networks inside."""


@dataclass(frozen=True)
class WebhookTarget:
    """A checked address. `trusted` means that the operator allows it wherever it leads."""

    scheme: str
    host: str
    port: int
    path: str
    trusted: bool

    @property
    def url(self) -> str:
        """The address again, as it was understood."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


@dataclass(frozen=True)
class UrlPolicy:
    """Where webhooks may go: https to some ports of public hosts; anywhere within the operator's origins."""

    ports: frozenset[int] = PORTS
    allowed: frozenset[str] = frozenset()

    def target(self, url: str) -> WebhookTarget:
        """Return what a URL means; nothing is looked up. Raises TargetRefused."""
        scheme, host, port, path = parse_url(url)
        if f"{scheme}://{host}:{port}" in self.allowed:
            return WebhookTarget(scheme, host, port, path, trusted=True)
        if scheme != "https":
            raise TargetRefused(f"must be an https:// address; {OTHERS}")
        if port not in self.ports:
            raise TargetRefused(f"the port must be one of {', '.join(map(str, sorted(self.ports)))}")
        literal = parse_literal(host)
        if literal is not None and not is_public(literal):
            raise TargetRefused(f"the address is not public; {OTHERS}")
        if literal is None and ("." not in host or "_" in host or host.rpartition(".")[2] in SPECIAL):
            raise TargetRefused(f"the host is not a public name; {OTHERS}")
        return WebhookTarget(scheme, host, port, path, trusted=False)

    def check(self, target: WebhookTarget, addresses: Sequence[str]) -> None:
        """Check what a host's name stands for: every address must be public. Raises TargetRefused."""
        if not addresses:
            raise TargetRefused("the host has no address")
        if not target.trusted and not all(is_public(ip_address(address)) for address in addresses):
            raise TargetRefused("the host leads to an address that is not public")


PUBLIC = UrlPolicy()


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is global unicast and carries no other address inside."""
    if address.is_multicast or address.is_reserved or address.is_unspecified or not address.is_global:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NEVER_V4)
    return address in UNICAST_V6 and not any(address in network for network in NEVER_V6)
