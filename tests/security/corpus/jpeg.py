"""JPEG files that are not what they say."""

import struct

from tests.support.pictures import encoded, picture

WIDTH, HEIGHT = 48, 40
START = b"\xff\xd8"
FRAME, TABLES, CODES, SCAN = b"\xff\xc0", b"\xff\xdb", b"\xff\xc4", b"\xff\xda"


def plain() -> bytes:
    """A small baseline file."""
    return encoded(picture(size=(WIDTH, HEIGHT)), "JPEG")


def segment(marker: int, data: bytes, *, length: int | None = None) -> bytes:
    """Return a segment; `length` is what it says of its data."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2 if length is None else length) + data


def sizes() -> dict[str, bytes]:
    """Sides out of the rules, with the scan of a small picture."""
    real, sides = struct.pack(">HH", HEIGHT, WIDTH), (0, 1, 15, 8193, 65535)
    pairs = [(width, height) for width in sides for height in sides]
    return {f"{w} x {h}": plain().replace(real, struct.pack(">HH", h, w), 1) for w, h in pairs}


def segments() -> dict[str, bytes]:
    """Segments that are missing, foreign or too long."""
    whole = plain()
    frame = whole.index(FRAME)
    ways = {f"way {marker:#x} of coding": _at(whole, frame + 1, bytes([marker])) for marker in range(0xC1, 0xD0)}
    fields = {
        f"{count} components": _at(whole, frame + 9, bytes([count])) for count in (0, 2, 4, 255)
    } | {f"{bits} bits": _at(whole, frame + 4, bytes([bits])) for bits in (0, 1, 12, 16, 255)}  # fmt: skip
    factors = {f"sampled {factor:#x}": _at(whole, frame + 11, bytes([factor])) for factor in (0x00, 0x14, 0x44, 0xFF)}
    missing = {f"no {mark.hex()}": whole.replace(mark, b"\xff\xfe") for mark in (FRAME, TABLES, CODES, SCAN)}
    lengths = {
        f"application segment says {length}": START + segment(0xE0, bytes(64), length=length) + whole[2:]
        for length in (0, 1, 2, 3, 65535)
    }
    return ways | fields | factors | missing | lengths | {
        "500 scans": _scans(500),
        "10,000 comments": START + segment(0xFE, b"a") * 10_000 + whole[2:],
        "1 MB of fill": START + b"\xff" * 1_000_000 + whole[2:],
        "profile of 255 parts, one there": START + segment(0xE2, b"ICC_PROFILE\0\1\xff" + bytes(500)) + whole[2:],
        "profile that is none": START + segment(0xE2, b"ICC_PROFILE\0\1\1" + b"\xff" * 500) + whole[2:],
        "more pictures announced": START + segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\xff\xff" + bytes(200)) + whole[2:],
    }  # fmt: skip


def exifs() -> dict[str, bytes]:
    """EXIF that points to itself or beyond, or turns the picture in ways there are not."""
    head = b"Exif\0\0MM\0*\0\0\0\x08"
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    turns = {
        f"turned {turn}": head + b"\0\1" + struct.pack(">HHIHH", 0x0112, 3, 1, turn, 0) + bytes(4)
        for turn in (0, 5, 9, 255, 65535)
    }
    bodies = turns | {
        "its own next": head + b"\0\1" + entry + struct.pack(">I", 8),
        "65,535 entries": head + b"\xff\xff" + entry * 5000,
        "a count beyond": head + b"\0\1" + struct.pack(">HHII", 0x0112, 3, 2**32 - 1, 2**32 - 1) + bytes(4),
        "inner directory of itself": head + b"\0\1" + struct.pack(">HHII", 0x8769, 4, 1, 8) + bytes(4),
        "beyond the end": b"Exif\0\0MM\0*\xff\xff\xff\xff",
        "unknown type": head + b"\0\1" + struct.pack(">HHII", 0x0112, 999, 1, 6) + bytes(4),
        "nothing": b"Exif\0\0",
        "noise": b"Exif\0\0" + bytes(range(256)) * 20,
    }
    return {name: START + segment(0xE1, body) + plain()[2:] for name, body in bodies.items()}


def _at(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def _scans(count: int) -> bytes:
    """A progressive picture whose scans come again and again: each is a pass over all pixels."""
    whole = encoded(picture(size=(WIDTH, HEIGHT)), "JPEG", progressive=True)
    first, end = whole.index(SCAN), whole.rindex(b"\xff\xd9")
    return whole[:end] + whole[first:end] * count + whole[end:]
