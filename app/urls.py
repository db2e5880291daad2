"""URLs that can be read in one way only: what is checked is what is called."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

MAX_URL = 2000
DEFAULT_PORTS = {"http": 80, "https": 443}
PLAIN = re.compile(r"[\x21-\x7e]+")
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
"""With an underscore, as containers are often called, it is no public name."""
NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")


class TargetRefused(ValueError):
    """The address may not be called; the text says why, for the caller."""


def origin_of(url: str) -> str:
    """Return scheme, host and port of an operator's allowed origin. Raises TargetRefused."""
    scheme, host, port, path = parse_url(url)
    if path != "/":
        raise TargetRefused("an origin has no path")
    return f"{scheme}://{host}:{port}"


def page_origin(url: str) -> str:
    """Return an origin as browsers write it in `Origin`; * stays as it is. Raises TargetRefused."""
    if url == "*":
        return url
    scheme, host, port, path = parse_url(url)
    if path != "/":
        raise TargetRefused("an origin has no path")
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" if port == DEFAULT_PORTS[scheme] else f"{scheme}://{name}:{port}"


def is_public_url(url: str) -> bool:
    """Return whether an address can be that of a service: scheme, host, and perhaps a port and a path."""
    if not re.fullmatch(r"https?://[^\s?#/:@]\S*", url) or set(url) & set("?#@"):
        return False
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def parse_url(url: str) -> tuple[str, str, int, str]:
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
    return scheme, host, port or DEFAULT_PORTS[scheme], path


def _host(netloc: str, host: str) -> str:
    if netloc.startswith("["):
        try:
            return str(IPv6Address(host if "%" not in host else ""))
        except ValueError as fault:
            raise TargetRefused("the host cannot be read") from fault
    labels = host.split(".")
    if len(host) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise TargetRefused("the host cannot be read")
    if NUMERIC.fullmatch(labels[-1]) and parse_literal(host) is None:
        raise TargetRefused("the host cannot be read")
    return host


def parse_literal(host: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address that a host is written as; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None
