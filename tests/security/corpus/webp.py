"""WebP files that are not what they say."""

import struct

from tests.support.pictures import encoded, picture

SMALL = (48, 40)


def riff(*parts: bytes, size: int | None = None) -> bytes:
    """Return a file of chunks; `size` is what it says of them."""
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def part(kind: bytes, data: bytes, *, length: int | None = None) -> bytes:
    """Return a chunk; `length` is what it says of its data."""
    return kind + struct.pack("<I", len(data) if length is None else length) + data + bytes(len(data) % 2)


def canvas(width: int, height: int, flags: int = 0) -> bytes:
    """Return the chunk that announces a canvas."""
    return part(
        b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    )


def lossy() -> bytes:
    """The pixels' chunk of a small file."""
    return encoded(picture(size=SMALL), "WEBP")[12:]


def lossless() -> bytes:
    """Likewise, without loss."""
    return encoded(picture("RGBA", size=SMALL), "WEBP", lossless=True)[12:]


def sizes() -> dict[str, bytes]:
    """Sides out of the rules, over the pixels of a small picture."""
    sides = (1, 15, 48, 8193, 2**24)
    canvases = [(width, height) for width in sides for height in sides if (width, height) != (48, 48)]
    return {f"canvas {width} x {height}": riff(canvas(width, height), lossy()) for width, height in canvases}


def chunks() -> dict[str, bytes]:
    """Chunks that are missing, foreign, senseless or too long."""
    pixels, seen = lossy(), canvas(*SMALL)
    flags = {f"flags {flag:#04x}": riff(canvas(*SMALL, flag), pixels) for flag in (0x02, 0x04, 0x08, 0x10, 0x20, 0xFF)}
    lengths = {f"file says {size:#x}": riff(pixels, size=size) for size in (0, 4, 12, 2**31, 2**32 - 1)}
    frame = part(b"ANMF", bytes(16) + pixels)
    return flags | lengths | {
        "no pixels": riff(seen),
        "nothing": riff(),
        "pixels say more": riff(part(b"VP8 ", bytes(64), length=2**32 - 2)),
        "noise for pixels": riff(part(b"VP8 ", bytes(range(256)) * 8)),
        "noise without loss": riff(part(b"VP8L", b"\x2f" + bytes(range(256)) * 8)),
        "16384 x 16384 without loss": riff(part(b"VP8L", b"\x2f\xff\xff\xff\x0f" + bytes(500))),
        "transparency of noise": riff(canvas(*SMALL, 0x10), part(b"ALPH", b"\x01" + bytes(range(200))), pixels),
        "profile of noise": riff(canvas(*SMALL, 0x20), part(b"ICCP", bytes(range(256))), pixels),
        "exif of noise": riff(canvas(*SMALL, 0x08), pixels, part(b"EXIF", bytes(range(256)))),
        "an animation": riff(canvas(*SMALL, 0x02), part(b"ANIM", bytes(6)), frame, frame),
        "1,000 frames": riff(canvas(*SMALL, 0x02), part(b"ANIM", bytes(6)), frame * 1000),
        "an animation of nothing": riff(canvas(*SMALL, 0x02), part(b"ANIM", bytes(6))),
        "pixels twice": riff(seen, pixels, lossless()),
        "50,000 unknown chunks": riff(seen, part(b"ABCD", b"") * 50_000, pixels),
    }  # fmt: skip
