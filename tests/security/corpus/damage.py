"""Honest pictures of every kind that is read, cut off, continued or under another's name."""

from tests.security.corpus.png import PIXELS, SIDE, SIGNATURE, png
from tests.security.mutants import originals
from tests.support.pictures import encoded, picture

MARK = b"<script>alert(1)</script>"


def cut() -> dict[str, bytes]:
    """Cut off at ten places."""
    parts = (0.0, 0.05, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.98)
    return {
        f"kind {n} at {part:.0%}": whole[: max(12, int(len(whole) * part))]
        for n, whole in enumerate(originals())
        for part in parts
    }


def continued() -> dict[str, bytes]:
    """With something behind their end."""
    behind = {"a page": b"<html>" + MARK, "an archive": b"PK\x03\x04" + MARK, "zeros": bytes(1_000_000) + MARK}
    return {
        f"kind {n} and {name}": whole + more for n, whole in enumerate(originals()) for name, more in behind.items()
    }


def exchanged() -> dict[str, bytes]:
    """The first bytes of one over the rest of another."""
    png, jpeg, webp = (originals()[n] for n in (0, 5, 8))
    pairs = {"png, jpeg": (png, jpeg), "png, webp": (png, webp), "jpeg, png": (jpeg, png), "jpeg, webp": (jpeg, webp),
             "webp, png": (webp, png), "webp, jpeg": (webp, jpeg)}  # fmt: skip
    return {name: first[:12] + second[12:] for name, (first, second) in pairs.items()}


def broken() -> dict[str, bytes]:
    """Hardly more than their first bytes, or with a header that does not fit."""
    return {
        "no pixels": png(SIDE, SIDE),
        "wrong checksum": png(SIDE, SIDE, PIXELS).replace(b"\x08\x02\x00\x00\x00", b"\x08\x02\x00\x00\x00x"),
        "only a signature": SIGNATURE,
        "jpeg signature": b"\xff\xd8\xff\xe0" + bytes(100),
        "webp signature": b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff" + bytes(100),
        "truncated webp": encoded(picture(size=(300, 300)), "WEBP")[:200],
    }
