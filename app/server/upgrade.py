"""Offers of another protocol (h2c, websocket) that a request may carry: HTTP/1.1 lets a server ignore them."""

from collections.abc import Iterable

OFFERS = (b"upgrade", b"http2-settings")


def without_upgrade(method: bytes, url: bytes, version: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of the same request without its offer; the names of headers are in lower case."""
    lines = [b"%b %b HTTP/%b" % (method, url, version)]
    for name, value in headers:
        if name == b"connection":
            kept = [token for token in value.split(b",") if token.strip().lower() not in OFFERS]
            value = b",".join(kept)
        if name not in OFFERS and (value or name != b"connection"):
            lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join(lines) + b"\r\n\r\n"
