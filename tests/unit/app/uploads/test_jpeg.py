"""JPEG and WebP as browsers show them: without their end, with something behind it, turned by EXIF alone."""

import random
import struct
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from app.uploads.decoder.normalise import normalise
from app.uploads.limits import PictureFileRefused, Verdict
from tests.security.corpus.jpeg import segment
from tests.security.corpus.webp import part, riff
from tests.support.pictures import encoded, picture

WAYS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "fine": {"quality": 100, "subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "restarts, progressive": {"restart_marker_rows": 1, "progressive": True},
    "own tables": {"optimize": True},
}
SIZE = (97, 75)


def detailed(mode: str = "RGB") -> Image.Image:
    """A smooth picture with grain, so that each of its blocks says something."""
    smooth = picture(mode, SIZE)
    drawn = random.Random(0).randbytes(SIZE[0] * SIZE[1] * len(smooth.getbands()))
    return Image.blend(smooth, Image.frombytes(mode, SIZE, drawn), 0.15)


def pixels(data: bytes) -> bytes:
    return normalise(BytesIO(data)).tobytes()


def refused(data: bytes) -> bool:
    with pytest.raises(PictureFileRefused) as caught:
        normalise(BytesIO(data))
    return caught.value.verdict is Verdict.UNREADABLE


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("way", WAYS)
def test_only_the_end_marker_may_be_missing(way: str, mode: str) -> None:
    data = encoded(detailed(mode), "JPEG", **WAYS[way])
    for cut in (data[:-2], data[:-1], data[:-2] + bytes(5000)):
        assert pixels(cut) == pixels(data)
    begin = data.rindex(b"\xff\xda")
    for left in (len(data) - 40, len(data) - 200, (begin + len(data)) // 2, begin + 40, begin, begin - 20):
        for rest in (data[:left], data[:left] + bytes(5000)):
            assert refused(rest), left


def test_a_flat_picture_without_end_marker_is_taken() -> None:
    for way in WAYS.values():
        data = encoded(Image.new("RGB", SIZE, (200, 30, 30)), "JPEG", **way)
        assert pixels(data[:-2]) == pixels(data)


def test_a_scan_cut_off_and_continued_with_something_else_is_refused() -> None:
    data = encoded(detailed(), "JPEG")
    assert refused(data[: len(data) // 2] + b"what was in that place of the disk before; " * 500)


def test_a_scan_that_is_missing_altogether_is_refused() -> None:
    data = encoded(detailed(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xc4")  # the tables of the last scan
    assert refused(data[:last])


@pytest.mark.parametrize("behind", [b"<html>", bytes(10_000), b"\xff\xd9", b"PK\3\4" + bytes(range(256)) * 50])
def test_what_stands_behind_the_end_is_nothing(behind: bytes) -> None:
    data = encoded(detailed(), "JPEG")
    assert pixels(data + behind) == pixels(data)


@pytest.mark.parametrize(
    "damaged",
    [
        segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4"),
        segment(0xE0, b"JFIF"),
        segment(0xE0, b"JFXX\0\x10"),
        segment(0xE1, b"Exif\0\0"),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe"),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE2, b"ICC_PROFILE\0\1\3" + bytes(50)),
        segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\3" + bytes(30)),
        segment(0xE2, b"FPXR\0"),
        segment(0xEE, b"Adobe"),
        segment(0xEF, b""),
        segment(0xFE, bytes(60_000)),
    ],
)
def test_no_application_segment_refuses_a_picture(damaged: bytes) -> None:
    data = encoded(detailed(), "JPEG")
    assert pixels(data[:2] + damaged + data[2:]) == pixels(data)


def xmp_of(orientation: int) -> bytes:
    said = f'tiff:Orientation="{orientation}"' if orientation % 2 else ">"
    element = "" if orientation % 2 else f"<tiff:Orientation>{orientation}</tiff:Orientation>"
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description {said}>{element}</rdf:RDF>'.encode()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_nothing_but_exif_turns_a_picture(kind: str, orientation: int) -> None:
    wide = Image.new("RGB", (96, 64), (0, 0, 255))
    exif = Image.Exif()
    exif[0x0112] = orientation
    packet: dict[str, Any] = {} if kind == "PNG" else {"xmp": xmp_of(6 if orientation < 5 else 1)}
    tall = orientation > 4
    assert normalise(BytesIO(encoded(wide, kind, exif=exif, **packet))).size == ((64, 96) if tall else (96, 64))
    if kind != "PNG":
        assert normalise(BytesIO(encoded(wide, kind, xmp=xmp_of(orientation)))).size == (96, 64)
        silent = Image.Exif()
        silent[0x010E] = "a picture"
        assert normalise(BytesIO(encoded(wide, kind, exif=silent, xmp=xmp_of(orientation)))).size == (96, 64)


def test_a_webp_that_breaks_off_in_metadata_is_whole_enough() -> None:
    data = encoded(detailed(), "WEBP", xmp=b"x" * 500, exif=b"Exif\0\0")
    assert pixels(data[:-100]) == pixels(data)
    plain = encoded(detailed(), "WEBP")
    assert refused(plain[:-20])
    assert pixels(riff(plain[12:], part(b"XMP ", b"cut", length=9999))) == pixels(plain)


def test_what_stands_behind_a_webp_is_no_chunk_of_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(detailed(), "WEBP", exif=exif)
    for behind in (b"<html><script>", bytes(50), part(b"EXIF", b"MM"), encoded(picture(), "WEBP")):
        assert pixels(turned + behind) == pixels(turned)
        assert normalise(BytesIO(turned + behind)).size == (SIZE[1], SIZE[0])


def test_a_webp_keeps_profile_and_transparency() -> None:
    clear = picture("RGBA", SIZE)
    assert pixels(encoded(clear, "WEBP", lossless=True, exact=True, xmp=b"x")) == pixels(encoded(clear))


def test_the_parts_of_a_profile_come_in_any_order() -> None:
    data = encoded(detailed(), "JPEG")
    profile = bytes(range(100))
    parts = [segment(0xE2, b"ICC_PROFILE\0" + struct.pack("BB", n, 2) + profile) for n in (2, 1)]
    assert pixels(data[:2] + b"".join(parts) + data[2:]) == pixels(data)  # no profile, but no reason to refuse
