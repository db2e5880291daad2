"""The rules a picture must meet, and the words for each way of breaking them. Shared with the decoder's processes."""

from enum import IntEnum

MAX_BYTES = 20_000_000
MAX_PIXELS = 32_000_000
MAX_SIDE = 8192
MIN_SIDE = 16
LONG_SIDE = 2048
"""Larger pictures are shrunk to this many pixels on their long side."""

SIGNATURES: dict[str, tuple[tuple[int, bytes], ...]] = {
    "PNG": ((0, b"\x89PNG\r\n\x1a\n"),),
    "JPEG": ((0, b"\xff\xd8\xff"),),
    "WEBP": ((0, b"RIFF"), (8, b"WEBP")),
}
SIGNATURE_BYTES = 12
FORMATS = tuple(SIGNATURES)
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")


class Verdict(IntEnum):
    """What became of a picture in the decoder."""

    ACCEPTED = 0
    UNREADABLE = 1
    TOO_SMALL = 2
    TOO_LARGE = 3
    TOO_MANY_PIXELS = 4
    ANIMATED = 5
    NOTHING_REPAINTED = 6
    CRASHED = 7
    TIMED_OUT = 8
    RESOURCE_LIMIT = 9


MESSAGES: dict[Verdict, str] = {
    Verdict.UNREADABLE: "the picture is damaged, truncated or not really a PNG, JPEG or WebP",
    Verdict.TOO_SMALL: f"the picture is smaller than {MIN_SIDE} x {MIN_SIDE} pixels",
    Verdict.TOO_LARGE: f"a side of the picture is longer than {MAX_SIDE} pixels",
    Verdict.TOO_MANY_PIXELS: f"the picture has more than {MAX_PIXELS:,} pixels",
    Verdict.ANIMATED: "the picture is animated; send a single frame",
    Verdict.NOTHING_REPAINTED: "the mask leaves nothing to repaint: white is repainted, or what is transparent",
    Verdict.CRASHED: "the picture could not be decoded",
    Verdict.TIMED_OUT: "the picture took too long to decode",
    Verdict.RESOURCE_LIMIT: "the picture needed more memory or processor time to decode than one may have",
}


class PictureFileRefused(Exception):
    """The picture breaks a rule."""

    VERDICTS = frozenset(verdict for verdict in Verdict if Verdict.ACCEPTED < verdict < Verdict.CRASHED)

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(MESSAGES[verdict])
        self.verdict = verdict


def format_of(head: bytes) -> str | None:
    """Return the picture format that the first bytes announce, None when it is none of ours."""
    for name, marks in SIGNATURES.items():
        if all(head[at : at + len(mark)] == mark for at, mark in marks):
            return name
    return None
