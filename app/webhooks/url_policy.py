"""May a webhook be called, and where? Never at home: only at public addresses, or where the operator allows it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

MAX_URL = 2000
PORTS = frozenset({443, 8443})
PLAIN = re.compile(r"[\x21-\x7e]+")
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
"""With an underscore, as containers are often called, it is no public name."""
NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
SPECIAL = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "arpa", "onion", "test", "invalid")
"""Last labels of names that are never public."""

NEVER_V4 = tuple(map(IPv4Network, ("192.88.99.0/24", "192.0.0.0/24", "240.0.0.0/4")))
UNICAST_V6 = IPv6Network("2000::/3")
NEVER_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""Protocol assignments with Teredo, documentation, 6to4: these may carry addresses of other networks inside."""


class TargetRefused(ValueError):
    """The address may not be called; the text says why, for the caller."""


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
        scheme, host, port, path = _parsed(url)
        if f"{scheme}://{host}:{port}" in self.allowed:
            return WebhookTarget(scheme, host, port, path, trusted=True)
        if scheme != "https":
            raise TargetRefused("must be an https:// address")
        if port not in self.ports:
            raise TargetRefused(f"the port must be one of {', '.join(map(str, sorted(self.ports)))}")
        literal = _literal(host)
        if literal is not None and not is_public(literal):
            raise TargetRefused("the address is not public")
        if literal is None and ("." not in host or "_" in host or host.rpartition(".")[2] in SPECIAL):
            raise TargetRefused("the host is not a public name")
        return WebhookTarget(scheme, host, port, path, trusted=False)

    def check(self, target: WebhookTarget, addresses: Sequence[str]) -> None:
        """Check what a host's name stands for: every address must be public. Raises TargetRefused."""
        if not addresses:
            raise TargetRefused("the host has no address")
        if not target.trusted and not all(is_public(ip_address(address)) for address in addresses):
            raise TargetRefused("the host leads to an address that is not public")


PUBLIC = UrlPolicy()


def origin_of(url: str) -> str:
    """Return scheme, host and port of an operator's allowed origin. Raises TargetRefused."""
    scheme, host, port, path = _parsed(url)
    if path != "/":
        raise TargetRefused("an origin has no path")
    return f"{scheme}://{host}:{port}"


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is global unicast and carries no other address inside."""
    if address.is_multicast or address.is_reserved or address.is_unspecified or not address.is_global:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NEVER_V4)
    return address in UNICAST_V6 and not any(address in network for network in NEVER_V6)


def _parsed(url: str) -> tuple[str, str, int, str]:
    """Return scheme, host, port and path with query of a URL that can be read in one way only. Raises TargetRefused."""
    if len(url) > MAX_URL:
        raise TargetRefused(f"must have at most {MAX_URL} characters")
    if not PLAIN.fullmatch(url) or "\\" in url:
        raise TargetRefused("must be written in plain ASCII, without spaces or backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as fault:
        raise TargetRefused("cannot be read as a URL") from fault
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https"):
        raise TargetRefused("must be an https:// address")
    if "@" in parts.netloc:
        raise TargetRefused("must not carry a user name or password")
    if "#" in url:
        raise TargetRefused("must not have a fragment")
    if parts.netloc.endswith(":") or port == 0:
        raise TargetRefused("the port cannot be read")
    host = _host(parts.netloc, parts.hostname or "")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return scheme, host, port or (443 if scheme == "https" else 80), path


def _host(netloc: str, host: str) -> str:
    if netloc.startswith("["):
        try:
            return str(IPv6Address(host if "%" not in host else ""))
        except ValueError as fault:
            raise TargetRefused("the host cannot be read") from fault
    labels = host.split(".")
    if len(host) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise TargetRefused("the host cannot be read")
    if NUMERIC.fullmatch(labels[-1]) and _literal(host) is None:
        raise TargetRefused("the host cannot be read")
    return host


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
