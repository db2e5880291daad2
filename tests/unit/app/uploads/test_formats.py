"""A file that is no PNG, JPEG or WebP is named, with what to do about it."""

import gzip

import pytest

from app.uploads.decoder.formats import name_foreign
from app.uploads.limits import SIGNATURE_BYTES
from tests.support.pictures import encoded, picture

FILES = {
    "a HEIC picture: export it as JPEG, or set an iPhone to": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "a HEIF picture: export it as JPEG": b"\0\0\0\x1cftypmif1\0\0\0\0",
    "an AVIF picture: save or export it as PNG or JPEG": b"\0\0\0\x20ftypavif\0\0\0\0",
    "a camera's raw picture": b"\0\0\0\x18ftypcrx \0\0\0\1",
    "a video": b"\0\0\0\x18ftypmp42" + bytes(100),
    "a JPEG XL picture": b"\xff\x0a" + bytes(20),
    "an SVG drawing: export it as PNG": b'<SVG xmlns="http://www.w3.org/2000/svg"/>',
    "an XML file or SVG drawing": b'<?xml version="1.0"?><svg/>',
    "a web page": b"<!doctype html><p>",
    "a PDF document": b"%PDF-1.7",
    "a ZIP archive or office document": b"PK\3\4" + bytes(20),
    "a gzip archive": gzip.compress(b"a"),
    "a Photoshop file": b"8BPS\0\1",
    "a PNG damaged by a transfer as text": b"\x89PNG\n\x1a\n" + bytes(20),
    "a sound or video": b"RIFF\0\0\0\0WAVEfmt ",
    "an address: send the picture itself": b"https://example.com/a.png",
    "a data URL": b"data:image/png;base64,AAAA",
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_named_by_their_first_bytes(name: str) -> None:
    assert f"is {name}" in name_foreign(FILES[name][:SIGNATURE_BYTES])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("GIF", "a GIF picture: save one frame"),
        ("BMP", "a BMP picture: save or export it"),
        ("TIFF", "a TIFF or a camera's raw picture"),
        ("ICO", "an icon"),
        ("PPM", "a Netpbm picture"),
        ("JPEG2000", "a JPEG 2000 picture"),
        ("DDS", "a DDS texture"),
        ("EPS", "a PostScript document"),
    ],
)
def test_pictures_of_other_formats_are_named(kind: str, name: str) -> None:
    assert name in name_foreign(encoded(picture(), kind)[:SIGNATURE_BYTES])


@pytest.mark.parametrize("head", [b"", b"hello", bytes(12), b"\x7fELF\2\1\1", b"\x89"])
def test_what_is_not_recognised_has_no_name(head: bytes) -> None:
    assert name_foreign(head) == ""
