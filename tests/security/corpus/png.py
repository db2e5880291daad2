"""PNG files that are not what they say."""

import struct
import zlib
from itertools import product

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SIDE = 32


def chunk(kind: bytes, data: bytes, *, length: int | None = None) -> bytes:
    """Return a chunk; `length` is what it says of its data."""
    said = struct.pack(">I", len(data) if length is None else length)
    return said + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2, rest: bytes = b"\0\0\0") -> bytes:
    """Return a file with a header of one's choice: `rest` is compression, filter and interlace."""
    header = chunk(b"IHDR", struct.pack(">IIBB", width, height, depth, colour) + rest)
    return SIGNATURE + header + b"".join(chunks) + chunk(b"IEND", b"")


PIXELS = chunk(b"IDAT", zlib.compress(bytes((1 + 3 * SIDE) * SIDE)))
BOMB = zlib.compress(bytes(80_000_000))


def sizes() -> dict[str, bytes]:
    """Sides out of the rules, with the pixels of a small picture."""
    sides = (0, 1, 15, SIDE, 8193, 2**31 - 1, 2**31, 2**32 - 1)
    pairs = [pair for pair in product(sides, sides) if pair != (SIDE, SIDE)]
    return {f"{width} x {height}": png(width, height, PIXELS) for width, height in pairs}


def headers() -> dict[str, bytes]:
    """Depths, colours and ways of packing, most of which PNG does not have."""
    kinds = product((0, 1, 3, 16, 255), (0, 1, 2, 3, 5, 6))
    packed = (b"\1\0\0", b"\0\1\0", b"\0\0\1", b"\0\0\2", b"\xff\xff\xff")
    return {
        **{f"depth {d} colour {c}": png(SIDE, SIDE, PIXELS, depth=d, colour=c) for d, c in kinds},
        **{f"packed {rest.hex()}": png(SIDE, SIDE, PIXELS, rest=rest) for rest in packed},
    }


def chunks() -> dict[str, bytes]:
    """Chunks that are missing, doubled, too long, out of place or senseless."""
    raw = zlib.compress(bytes((1 + 3 * SIDE) * SIDE))
    lengths = {
        f"{kind.decode()} says {length:#x}": png(SIDE, SIDE, chunk(kind, bytes(8), length=length), PIXELS)
        for kind in (b"PLTE", b"tRNS", b"iCCP", b"tEXt", b"eXIf", b"IDAT")
        for length in (9, 2**31 - 1, 2**32 - 1)
    }
    senseless = {
        f"{kind.decode()} of {len(data)} bytes": png(SIDE, SIDE, chunk(kind, data), PIXELS)
        for kind in (b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tIME", b"eXIf", b"iCCP", b"acTL", b"fcTL")
        for data in (b"", b"\xff" * 5, bytes(100_000))
    }
    return lengths | senseless | {
        "no header": SIGNATURE + PIXELS + chunk(b"IEND", b""),
        "two headers": png(SIDE, SIDE, chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)), PIXELS),
        "no end": png(SIDE, SIDE, PIXELS)[:-12],
        "an end first": SIGNATURE + chunk(b"IEND", b"") + png(SIDE, SIDE, PIXELS)[8:],
        "a palette picture without palette": png(SIDE, SIDE, PIXELS, colour=3),
        "half of the pixels": png(SIDE, SIDE, chunk(b"IDAT", zlib.compress(bytes(1000)))),
        "no zlib in the pixels": png(SIDE, SIDE, chunk(b"IDAT", bytes(range(256)) * 8)),
        "filters that are none": png(SIDE, SIDE, chunk(b"IDAT", zlib.compress(b"\xff" * (1 + 3 * SIDE) * SIDE))),
        "pixels byte by byte": png(SIDE, SIDE, *(chunk(b"IDAT", raw[n : n + 1]) for n in range(len(raw)))),
        "50,000 empty chunks": png(SIDE, SIDE, chunk(b"IDAT", b"") * 50_000, PIXELS),
        "50,000 texts": png(SIDE, SIDE, chunk(b"tEXt", b"a\0b") * 50_000, PIXELS),
    }  # fmt: skip


def bombs() -> dict[str, bytes]:
    """Little that unpacks to much."""
    return {
        "pixels": png(30_000, 30_000, chunk(b"IDAT", BOMB)),
        "pixels of 16 bits": png(8192, 8192, chunk(b"IDAT", BOMB), depth=16, colour=6),
        "an animation": png(SIDE, SIDE, chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)), PIXELS),
    }


def metadata_bombs() -> dict[str, bytes]:
    """The same in metadata, which nobody needs to unpack: it is left aside."""
    return {
        "text": png(SIDE, SIDE, chunk(b"zTXt", b"a\0\0" + BOMB), PIXELS),
        "international text": png(SIDE, SIDE, chunk(b"iTXt", b"a\0\1\0\0\0" + BOMB), PIXELS),
        "profile": png(SIDE, SIDE, chunk(b"iCCP", b"a\0\0" + BOMB), PIXELS),
        "100 texts": png(SIDE, SIDE, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000))) * 100, PIXELS),
        "a recipe": png(SIDE, SIDE, chunk(b"zTXt", b"stylize:recipe\0\0" + BOMB), PIXELS),
    }
