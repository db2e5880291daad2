"""Files of other kinds, some of which Pillow would read if it were let."""

import gzip
import struct
import zipfile
from io import BytesIO

from tests.support.pictures import encoded, picture


def files() -> dict[str, bytes]:
    """Pictures of kinds that are not taken, and what is no picture."""
    taken_elsewhere = ("GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "PCX", "SGI", "PDF", "EPS", "DDS", "JPEG2000")
    return {
        **{kind: encoded(picture(size=(32, 32)), kind) for kind in taken_elsewhere},
        "script for a printer": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "drawing": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "page": b"<html><script>alert(1)</script></html>",
        "entities": b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>',
        "archive": _archive(),
        "packed zeros": gzip.compress(bytes(10_000_000)),
        "program": b"\x7fELF" + bytes(200),
        "pickle": b"\x80\x04cposix\nsystem\n(S'true'\ntR.",
        "phone's picture": b"\0\0\0\x18ftypheic" + bytes(100),
        "newer picture": b"\0\0\0\x18ftypavif" + bytes(100),
        "film": b"\0\0\0\x18ftypmp42" + bytes(100),
        "zeros": bytes(1_000_000),
        "one byte": b"\x89",
        "a wrong end of line": b"\x89PNG\n\x1a\n" + bytes(100),
        "sound": b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(100),
        "text": "ein Bild, wirklich".encode("utf-16"),
    }


def _archive() -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as opened:
        opened.writestr("../../picture.png", encoded(picture(size=(32, 32))))
    return target.getvalue()
