"""PNG as browsers read it: the transparent colour at every depth, and no word of damaged metadata."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image

from app.uploads.decoder.normalise import normalise
from app.uploads.limits import PictureFileRefused, Verdict
from tests.security.corpus.png import chunk, png
from tests.support.pictures import encoded, picture
from tests.unit.app.uploads.test_normalise import linear_profile

SIDE = 32
HALF = SIDE // 2
WHITE = (255, 255, 255)
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7: first column and row of each pass, and the steps between."""
Sample = tuple[int, ...]
PIXELS = chunk(b"IDAT", zlib.compress((b"\0" + bytes((200, 80, 40)) * SIDE) * SIDE))
BIG = zlib.compress(bytes(20_000_000))


def packed(depth: int, sample: Callable[[int, int], Sample], *, interlaced: bool) -> bytes:
    """The rows of a picture, unfiltered."""
    rows = bytearray()
    for left, top, right, down in PASSES if interlaced else ((0, 0, 1, 1),):
        for y in range(top, SIDE, down):
            bits = "".join(f"{value:0{depth}b}" for x in range(left, SIDE, right) for value in sample(x, y))
            bits += "0" * (-len(bits) % 8)
            rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    return chunk(b"IDAT", zlib.compress(bytes(rows)))


def two_colours(
    depth: int, colour: int, left: Sample, right: Sample, *before: bytes, interlaced: bool = False
) -> bytes:
    pixels = packed(depth, lambda x, _: left if x < HALF else right, interlaced=interlaced)
    return png(SIDE, SIDE, *before, pixels, depth=depth, colour=colour, rest=bytes((0, 0, interlaced)))


def halves(data: bytes) -> tuple[object, object]:
    shown = normalise(BytesIO(data))
    assert shown.mode == "RGB"
    return shown.getpixel((3, 9)), shown.getpixel((SIDE - 3, 9))


def key(*samples: int) -> bytes:
    return chunk(b"tRNS", struct.pack(f">{len(samples)}H", *samples))


def as_8_bits(sample: Sample, depth: int) -> object:
    shown = [value >> 8 if depth == 16 else value * 255 // ((1 << depth) - 1) for value in sample]
    return tuple(shown * 3 if len(shown) == 1 else shown)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("depth", "left", "right"),
    [
        (1, (0,), (1,)),
        (1, (1,), (0,)),
        (2, (1,), (2,)),
        (4, (5,), (10,)),
        (8, (85,), (86,)),
        (16, (0x5599,), (0x559A,)),  # in 8 bits the same grey
        (16, (0,), (255,)),
        (8, (18, 86, 154), (18, 86, 155)),
        (16, (0x1234, 0x5678, 0x9ABC), (0xFFFF, 0, 0)),
        (16, (0x1234, 0x5678, 0x9ABC), (0x1234, 0x5678, 0x9ABD)),
    ],
)
def test_one_colour_is_transparent(depth: int, left: Sample, right: Sample, interlaced: bool) -> None:
    colour = 0 if len(left) == 1 else 2
    data = two_colours(depth, colour, left, right, key(*left), interlaced=interlaced)
    assert halves(data) == (WHITE, as_8_bits(right, depth))


@pytest.mark.parametrize(("depth", "colour", "sample"), [(2, 0, (1,)), (8, 0, (1,)), (8, 2, (1, 2, 3)), (1, 0, (0,))])
def test_the_low_bits_of_the_colour_count(depth: int, colour: int, sample: Sample) -> None:
    high = tuple(value | 0xAA00 | (1 << depth) for value in sample)
    other = tuple(value ^ 1 for value in sample)
    assert halves(two_colours(depth, colour, sample, other, key(*high))) == (WHITE, as_8_bits(other, depth))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_entries_have_their_transparency(depth: int, interlaced: bool) -> None:
    before = (chunk(b"PLTE", bytes((200, 100, 0, 10, 20, 30))), chunk(b"tRNS", b"\x80"))
    shown = halves(two_colours(depth, 3, (0,), (1,), *before, interlaced=interlaced))
    assert shown[0] in {(227, 177, 127), (228, 178, 127)}
    assert shown[1] == (10, 20, 30)


def test_shrunk_pictures_keep_the_transparent_colour_apart() -> None:
    white_on_clear = Image.new("RGB", (4096, 32), (0, 0, 0))
    white_on_clear.paste((250, 0, 0), (2048, 0, 4096, 32))
    shown = normalise(BytesIO(encoded(white_on_clear, transparency=(0, 0, 0))))
    assert [shown.getpixel((x, 8)) for x in (100, 2000)] == [WHITE, (250, 0, 0)]


@pytest.mark.parametrize(
    "useless",
    [
        key(1)[:-1] + b"\0",  # the wrong checksum
        chunk(b"tRNS", b""),
        chunk(b"tRNS", b"\0"),
        chunk(b"tRNS", bytes(100_000)),
    ],
)
def test_a_damaged_transparent_colour_is_none(useless: bytes) -> None:
    assert halves(two_colours(8, 0, (1,), (2,), useless)) == ((1, 1, 1), (2, 2, 2))


def wrong_checksum(kind: bytes, data: bytes) -> bytes:
    return chunk(kind, data)[:-4] + b"\xca\xde\x10\x19"


ANCILLARY = [
    *(b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tIME", b"bKGD", b"hIST"),
    *(b"sBIT", b"sPLT", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"oFFs", b"caNv", b"prVt", b"cICP", b"mDCV", b"dSIG"),
]
BODIES = {
    "nothing": b"",
    "a byte": b"\xff",
    "noise": bytes(range(256)) * 2,
    "no zlib": b"name\0\0no zlib",
    "a bomb": b"name\0\0" + BIG,
    "an international bomb": b"name\0\1\0\0\0" + BIG,
    "a text of our own that is a bomb": b"stylize:recipe\0\1\0\0\0" + BIG,
    "another way to pack": b"name\0\7x",
    "no name": b"\0\0",
}


@pytest.mark.parametrize("kind", ANCILLARY, ids=bytes.decode)
def test_no_ancillary_chunk_refuses_a_picture(kind: bytes) -> None:
    for name, body in BODIES.items():
        for damaged in (chunk(kind, body), wrong_checksum(kind, body)):
            for place in ((damaged, PIXELS), (PIXELS, damaged)):
                assert halves(png(SIDE, SIDE, *place)) == ((200, 80, 40),) * 2, (name, place[0] is PIXELS)


def test_a_file_that_breaks_off_in_metadata_behind_the_pixels_is_whole_enough() -> None:
    data = png(SIDE, SIDE, PIXELS, chunk(b"tEXt", b"Comment\0" + b"made by me" * 9))
    for cut in (1, 12, 13, 30, 90):
        assert halves(data[:-cut]) == ((200, 80, 40),) * 2


@pytest.mark.parametrize("size", [1_200_000, 9_000_000])
def test_a_profile_of_any_size_refuses_no_picture(size: int) -> None:
    profile = chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(bytes(size)))
    assert halves(png(SIDE, SIDE, profile, PIXELS)) == ((200, 80, 40),) * 2


def test_a_large_profile_counts_as_it_does_in_a_jpeg() -> None:
    padded = linear_profile().ljust(1_500_000, b"\0")
    profile = padded[:0] + struct.pack(">I", len(padded)) + padded[4:]
    grey = Image.new("RGB", (SIDE, SIDE), (55, 55, 55))
    (as_png, _), (as_jpeg, _) = (halves(encoded(grey, kind, icc_profile=profile)) for kind in ("PNG", "JPEG"))
    assert as_png == as_jpeg == (128, 128, 128)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_a_critical_chunk_with_a_wrong_checksum_is_refused(kind: bytes) -> None:
    data = bytearray(encoded(picture("P")))
    data[data.index(kind) + 5] ^= 1
    with pytest.raises(PictureFileRefused) as caught:
        normalise(BytesIO(data))
    assert caught.value.verdict is Verdict.UNREADABLE


@pytest.mark.parametrize(("frames", "later"), [(2, False), (2, True), (1, True)])
def test_an_animation_is_told_by_its_control_chunk(frames: int, later: bool) -> None:
    control = chunk(b"acTL", struct.pack(">II", frames, 0))
    data = png(SIDE, SIDE, control, PIXELS, *[chunk(b"fdAT", bytes(9))] * later)
    with pytest.raises(PictureFileRefused) as caught:
        normalise(BytesIO(data))
    assert caught.value.verdict is Verdict.ANIMATED


def test_an_animation_of_one_frame_is_a_picture() -> None:
    control = chunk(b"acTL", struct.pack(">II", 1, 0))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, SIDE, SIDE, 0, 0, 1, 1, 0, 0))
    assert halves(png(SIDE, SIDE, control, frame, PIXELS)) == ((200, 80, 40),) * 2
