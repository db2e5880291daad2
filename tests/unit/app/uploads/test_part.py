"""The headers of a part, as clients write them."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import Malformed, UnsupportedMedia
from app.uploads.part import disposition, parse_part


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (b'form-data; name="a"', ("a", None)),
        (b'form-data; name="a"; filename="b.png"', ("a", "b.png")),
        (b"form-data; filename=b.png; name=a", ("a", "b.png")),
        (b"Form-Data ;name=a;filename=b.png", ("a", "b.png")),
        (b'form-data; name="a\\"b"', ('a"b', None)),
        (b'form-data; name="a"; filename=""', ("a", "")),
        ('form-data; name="a"; filename="ü"'.encode(), ("a", "ü")),
        (b"form-data; name=\"a\"; filename*=utf-8''%E5%9B%BE.png", ("a", "图.png")),
        (b"form-data; name=\"a\"; filename*=UTF-8'en'b%20c.png", ("a", "b c.png")),
        (b'form-data; name="a"; filename="b.png"; filename*=utf-8\'\'c.png', ("a", "b.png")),
        (b"form-data; name*=utf-8''%61; filename*=iso-8859-1''%FC.png", ("a", "ü.png")),
        (b'form-data; name="a"; filename*0="b"; filename*1=".png"', ("a", "b.png")),
        (b"form-data; name=\"a\"; filename*=klingon''b.png", ("a", "b.png")),
    ],
)
def test_dispositions(header: bytes, wanted: tuple[str, str | None]) -> None:
    assert disposition(header) == wanted


@given(st.binary(max_size=60), st.binary(max_size=30), st.binary(max_size=30))
@example(b"form-data; name=a; filename*=a\0''b", b"", b"")
@example(b"form-data; name=a; filename*" + b"9" * 999 + b"=b", b"", b"")
@example(b"form-data; name*=", b"a/b; charset*=x", b"*")
def test_no_header_is_worse_than_a_problem(header: bytes, media_type: bytes, encoding: bytes) -> None:
    rest = {b"content-type": media_type, b"content-transfer-encoding": encoding}
    for before in (b"", b"form-data; name=a;", b"form-data; name*=", b"form-data; name=a; filename*="):
        with suppress(Malformed, UnsupportedMedia):
            parse_part({b"content-disposition": before + header, **rest})
