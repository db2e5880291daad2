"""The headers of one part of a multipart form: which field it is, and how its bytes are to be read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.utils import collapse_rfc2231_value

from python_multipart.multipart import parse_options_header

from app.errors import Malformed, UnsupportedMedia

PLAIN_DISPOSITION = re.compile(rb'form-data; name="([^"\\\\]*)"(?:; filename="([^"\\\\]*)")?')
"""What nearly all clients send; anything else takes the libraries' slower ways."""
DISPOSITION = "Content-Disposition"
NAMES = ("name", "filename")
AS_IT_IS = frozenset({b"", b"7bit", b"8bit", b"binary"})
BINARY = ("image/", "application/octet-stream")


@dataclass(frozen=True)
class Part:
    """What a part says about itself. `filename` is None when it has none."""

    name: str
    filename: str | None
    media_type: str
    charset: str

    @property
    def is_file(self) -> bool:
        """Whether the part looks like a file where it could be a text, too."""
        return self.filename is not None or self.media_type.startswith(BINARY)


def parse_part(headers: Mapping[bytes, bytes]) -> Part:
    """Return what the headers of a part, by their names in lower case, say. Raises Malformed or UnsupportedMedia."""
    name, filename = disposition(headers.get(b"content-disposition", b""))
    encoding = headers.get(b"content-transfer-encoding", b"").strip().lower()
    if encoding not in AS_IT_IS:
        raise UnsupportedMedia("the Content-Transfer-Encoding of a part must be binary: send its bytes as they are")
    media_type, options = parse_options_header(headers.get(b"content-type", b""))
    charset = options.get(b"charset", b"")
    return Part(name, filename, media_type.decode("latin-1"), charset.decode("latin-1"))


def disposition(header: bytes) -> tuple[str, str | None]:
    """Return the name and the filename, None when there is none, of a part. Raises Malformed."""
    if plain := PLAIN_DISPOSITION.fullmatch(header):
        name, filename = plain.groups()
        return name.decode("utf-8", "replace"), None if filename is None else filename.decode("utf-8", "replace")
    kind, options = parse_options_header(header)
    found = {key: options[key.encode()].decode("utf-8", "replace") for key in NAMES if key.encode() in options}
    if b"*" in header:
        found = _extended(header) | found
    if kind != b"form-data" or "name" not in found:
        raise Malformed("a part has no Content-Disposition: form-data with a name")
    return found["name"], found.get("filename")


def _extended(header: bytes) -> dict[str, str]:
    """Return what a header gives in the form of RFC 2231, as in `filename*=utf-8''...`. Raises Malformed."""
    message = Message()
    message[DISPOSITION] = header.decode("latin-1")
    try:
        given = {key: message.get_param(key, header=DISPOSITION) for key in NAMES}
        return {key: collapse_rfc2231_value(value) for key, value in given.items() if value is not None}
    except (TypeError, ValueError) as fault:  # what Python's parser makes of parameters that contradict each other
        raise Malformed("the Content-Disposition of a part cannot be read") from fault
