"""The part of a file that a caller asks for (RFC 9110, 14): one range of bytes; several at once are not served."""

import re

from app.errors import RangeNotSatisfiable

BYTES = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")


def parse_range(header: str | None, size: int) -> range | None:
    """Return which of a file's bytes a `Range` header asks for; None for all: without one, or with one we do not serve.

    Raises RangeNotSatisfiable when the file has none of them.
    """
    found = BYTES.fullmatch((header or "").replace(" ", ""))
    first, last = found.groups() if found else ("", "")
    if not first and not last:
        return None
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if first and last and int(last) < start:
        return None
    if start >= stop:
        raise RangeNotSatisfiable(size)
    return range(start, stop)
