"""The form reader: the same form however it is cut, and every limit."""

import os
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import Invalid, Malformed, Problem, TooLarge, Unavailable, UnsupportedMedia
from app.uploads.buffers import KEPT_BYTES, KEPT_FILES, Share, UploadMemory
from app.uploads.form_schema import FormSchema
from app.uploads.limits import MAX_BYTES
from app.uploads.multipart import MAX_PARTS, MAX_PREAMBLE, MAX_TEXT_BYTES, Form, FormReader, boundary_of
from tests.support.pictures import multipart

SHAPE = FormSchema(("prompt", "seed"), {"style_image": 2, "content_image": 1}, stored=("style_image",))
PNG = b"\x89PNG\r\n\x1a\n and so on"
SHA = "ab" * 32


@pytest.fixture
def memory() -> Iterator[UploadMemory]:
    lent = UploadMemory(requests=2, size=50_000_000)
    yield lent
    lent.close()


def parsed(memory: UploadMemory, *pieces: bytes) -> Form:
    reader = FormReader(SHAPE, Share(memory, None), b"x")
    try:
        for piece in pieces:
            reader.feed(piece)
        reader.finish()
    except Problem:
        reader.form.close()
        raise
    return reader.form


def files(form: Form) -> dict[str, list[bytes]]:
    return {name: [up.file.mapped[: up.size] for up in uploads] for name, uploads in form.files.items()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    data=st.binary(max_size=300),
    text=st.text(max_size=50).filter(str.strip),
    cuts=st.lists(st.integers(0, 900), max_size=12),
)
def test_a_form_reads_the_same_however_it_is_cut(memory: UploadMemory, data: bytes, text: str, cuts: list[int]) -> None:
    tricky = data + b"\r\n--x" + data[:3] + b"\r\n--" if b"--x" not in data else data.replace(b"--x", b"")
    tricky = (
        tricky.replace(b"\r\n--x\r\n", b"")
        .replace(b"\r\n--x--", b"")
        .replace(b"\r\n--x ", b"")
        .replace(b"\r\n--x\t", b"")
    )
    body = multipart({"prompt": text}, {"style_image": tricky})
    places = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    form = parsed(memory, *(body[a:b] for a, b in pairwise(places)))
    assert form.texts == {"prompt": text}
    assert files(form) == {"style_image": [tricky]}
    form.close()


def test_files_are_numbered_when_there_may_be_several(memory: UploadMemory) -> None:
    body = multipart({}, {"style_image": b"1", "content_image": b"3"})
    form = parsed(
        memory,
        body.replace(
            b'--x\r\nContent-Disposition: form-data; name="content',
            multipart({}, {"style_image": b"2"})[:-5] + b'x\r\nContent-Disposition: form-data; name="content',
        ),
    )
    assert [upload.pointer for upload in form.uploads()] == ["#/style_image/0", "#/style_image/1", "#/content_image"]
    form.close()


def test_an_empty_file_input_of_a_web_form_is_no_file(memory: UploadMemory) -> None:
    form = parsed(memory, multipart({}, {"style_image": b""}).replace(b'filename="f"', b'filename=""'))
    assert form.uploads() == []
    form.close()


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (multipart({"prompt": "a", "nope": "b"}, {}), Invalid, "known are style_image, content_image, prompt, seed"),
        (
            multipart({"prompt": "a"}, {}).replace(b"--x--", b"") + multipart({"prompt": "b"}, {}),
            Invalid,
            "more than once",
        ),
        (multipart({"style_image": "a"}, {}), Invalid, "as a file .*, or be the sha256 of a stored picture"),
        (multipart({"content_image": SHA}, {}), Invalid, "as a file"),
        (multipart({}, {"style_image": b""}), Invalid, "the file is empty"),
        (multipart({"prompt": "a"}, {}).replace(b"a\r\n", b"\xff\r\n"), Invalid, "UTF-8"),
        (multipart({"prompt": "a" * (MAX_TEXT_BYTES + 1)}, {}), TooLarge, "32,768 bytes"),
        (multipart({"prompt": "a"}, {})[:-6], Malformed, "closing boundary"),
        (b"", Malformed, "closing boundary"),
        (b"rubbish", Malformed, "does not hold the boundary"),
        (b"a" * (MAX_PREAMBLE + 1) + multipart({"prompt": "a"}, {}), Malformed, "first 8,192 bytes"),
        (multipart({"prompt": "a"}, {}, "xy"), Malformed, "does not hold the boundary"),
        (b"--x\r\nContent-Type: text/plain\r\n\r\nb\r\n--x--", Malformed, "Content-Disposition"),
        (b"--x\r\nA: " + b"b" * 5000 + b"\r\n\r\nb\r\n--x--", Malformed, "well-formed"),
        (b"--x\r\n" + b"A: b\r\n" * 9 + b"\r\nb\r\n--x--", Malformed, "well-formed"),
    ],
)
def test_bad_forms_are_refused(memory: UploadMemory, body: bytes, kind: type[Problem], words: str) -> None:
    with pytest.raises(kind, match=words):
        parsed(memory, body)


def test_a_third_file_is_refused(memory: UploadMemory) -> None:
    one = multipart({}, {"style_image": b"1"})[: -len(b"--x--\r\n")]
    with pytest.raises(Invalid, match="at most 2 files"):
        parsed(memory, one * 3 + b"--x--")


def test_too_many_parts_are_refused_at_once(memory: UploadMemory) -> None:
    empty = b'--x\r\nContent-Disposition: form-data; name="style_image"; filename=""\r\n\r\n\r\n'
    with pytest.raises(TooLarge, match=f"{MAX_PARTS} parts"):
        parsed(memory, empty * (MAX_PARTS + 1))


def test_a_file_over_the_limit_is_refused(memory: UploadMemory) -> None:
    body = multipart({}, {"style_image": bytes(MAX_BYTES + 1)})
    with pytest.raises(TooLarge, match="style_image/0: the file is larger than 20,000,000 bytes"):
        parsed(memory, body)


def test_memory_is_bounded_over_all_requests() -> None:
    memory = UploadMemory(requests=1, size=1000)
    with memory.entered(None), pytest.raises(Unavailable), memory.entered(None):
        pass
    first = parsed(memory, multipart({}, {"style_image": bytes(600)}))
    with pytest.raises(Unavailable, match="too many bytes"):
        parsed(memory, multipart({}, {"style_image": bytes(600)}))
    first.close()
    parsed(memory, multipart({}, {"style_image": bytes(1000)})).close()
    memory.close()


def test_an_owner_gets_a_quarter_of_the_requests_and_half_of_the_bytes() -> None:
    memory = UploadMemory(requests=8, size=1000)
    with memory.entered("ann") as first, memory.entered("ann"):
        with pytest.raises(Unavailable, match="of yours"), memory.entered("ann"):
            pass
        first.take(500)
        with pytest.raises(Unavailable, match="of yours"):
            first.take(1)
        with memory.entered("bob") as other:
            other.take(500)
            other.give(500)
        first.give(500)
    with memory.entered("ann"), memory.entered("ann"):
        pass


def test_files_are_used_again_but_neither_many_nor_large_ones_are_kept() -> None:
    memory = UploadMemory(requests=1, size=1000)
    files = [memory.borrow() for _ in range(KEPT_FILES + 1)]
    files[0].mapped[: KEPT_BYTES + 5000] = bytes(KEPT_BYTES + 5000)
    for file in files:
        memory.restore(file)
    again = [memory.borrow() for _ in range(KEPT_FILES)]
    assert set(again) == set(files[:-1])
    assert os.fstat(files[0].file).st_blocks * 512 <= KEPT_BYTES + 4096
    assert files[0].mapped[KEPT_BYTES + 4999] == 0
    for file in again:
        memory.restore(file)
    memory.close()


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "application/json",
        "multipart/mixed; boundary=x",
        "multipart/form-data",
        "multipart/form-data; boundary=" + "x" * 71,
    ],
)
def test_other_bodies_are_refused(header: str | None) -> None:
    with pytest.raises(UnsupportedMedia):
        boundary_of(header)


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"\r\n",
        b"This is a multi-part message in MIME format.\r\n",
        b"--xy\r\n--x y\r\n x--x\r\n",
        b"a" * 8000 + b"\n",
    ],
)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_what_stands_before_the_first_boundary_and_after_the_last_is_no_part(
    memory: UploadMemory, before: bytes, step: int
) -> None:
    body = before + multipart({"prompt": "a house"}, {"style_image": b"1"}) + b"an epilogue\r\n--x\r\n"
    body = body.replace(b"--x\r\nContent", b"--x \t\r\nContent")
    form = parsed(memory, *(body[at : at + step] for at in range(0, len(body), step)))
    assert form.texts == {"prompt": "a house"}
    assert files(form) == {"style_image": [b"1"]}
    form.close()


def test_a_form_may_be_empty(memory: UploadMemory) -> None:
    assert parsed(memory, b"--x--\r\n").texts == {}


def test_a_text_may_come_as_a_file(memory: UploadMemory) -> None:
    body = multipart({}, {"prompt": "\ufeffa hóuse".encode()})
    form = parsed(memory, body.replace(b'"f"', b'"blob"\r\nContent-Type: application/json'))
    assert (form.texts, form.files) == ({"prompt": "a hóuse"}, {})


def test_a_picture_may_come_without_a_filename(memory: UploadMemory) -> None:
    body = multipart({}, {"style_image": PNG}).replace(b'; filename="f"', b"")
    form = parsed(memory, body)
    assert files(form) == {"style_image": [PNG]}
    form.close()


@pytest.mark.parametrize(
    "name", ["style_image[]", "style_image[0]", "style_image[12]", pytest.param("style_image", id="as it is")]
)
def test_names_may_have_brackets(memory: UploadMemory, name: str) -> None:
    form = parsed(memory, multipart({"prompt[]": "a"}, {name: b"1"}))
    assert (form.texts, files(form)) == ({"prompt": "a"}, {"style_image": [b"1"]})
    form.close()


@pytest.mark.parametrize(
    "name", ["style_image[a]", "style_image[", "style_image]", "[]", "nothing[0]", "style_image[1"]
)
def test_other_names_are_unknown(memory: UploadMemory, name: str) -> None:
    with pytest.raises(Invalid, match="unknown field"):
        parsed(memory, multipart({}, {name: b"1"}))


def test_a_stored_picture_is_named_by_its_sha256(memory: UploadMemory) -> None:
    form = parsed(memory, multipart({"style_image": SHA + "\n"}, {}))
    assert (form.stored, form.uploads()) == ({"style_image": [SHA]}, [])
    assert form.count("style_image") == 1
    with pytest.raises(Invalid, match="at most 2 files"):
        parsed(memory, (multipart({"style_image": SHA}, {})[:-7] + b"\r\n") * 3 + b"--x--")


@pytest.mark.parametrize(
    ("charset", "data"),
    [
        ("ISO-8859-1", "café".encode("latin-1")),
        ("latin1", "café".encode("latin-1")),
        ("windows-1252", "café".encode("cp1252")),
        ("UTF-16", "café".encode("utf-16")),
        ("utf-16le", "café".encode("utf-16-le")),
        ("utf8", "café".encode()),
        ("us-ascii", "café".encode()),
        ("'UTF-8'", "café".encode()),
        ("GB18030", "café".encode("gb18030")),
        ("", "\ufeffcafé".encode()),
    ],
)
def test_a_text_is_read_in_its_charset(memory: UploadMemory, charset: str, data: bytes) -> None:
    head = f"\r\nContent-Type: text/plain; charset={charset}\r\n\r\n".encode()
    part = multipart({"prompt": "TEXT"}, {}).replace(b"\r\n\r\n", head).replace(b"TEXT", data)
    assert parsed(memory, part).texts == {"prompt": "café"}
    named = multipart({"prompt": "TEXT", "_charset_": charset}, {}).replace(b"TEXT", data)
    assert parsed(memory, named).texts == {"prompt": "café"}


@pytest.mark.parametrize("charset", ["utf-7", "rot13", "hex", "idna", "unicode_escape", "klingon", "\x00", "é" * 100])
def test_an_unknown_charset_is_refused_by_name(memory: UploadMemory, charset: str) -> None:
    with pytest.raises(UnsupportedMedia, match=r"prompt: the charset .* is not known; send UTF-8"):
        parsed(memory, multipart({"_charset_": charset, "prompt": "a"}, {}).replace(b"\x00", b"nul"))


def test_a_text_that_is_not_of_its_charset_is_refused(memory: UploadMemory) -> None:
    for charset, data in (("windows-1252", b"\x81"), ("utf-16le", b"\x3c\xd8"), ("utf-32be", b"\0\0\xd8\x3c")):
        body = multipart({"_charset_": charset, "prompt": "TEXT"}, {}).replace(b"TEXT", data)
        with pytest.raises(Invalid, match=f"must be {charset}"):
            parsed(memory, body)


def test_an_encoded_part_is_refused_by_name(memory: UploadMemory) -> None:
    body = multipart({}, {"style_image": PNG})
    for encoding, good in (("binary", True), ("8bit", True), ("base64", False), ("quoted-printable", False)):
        sent = body.replace(b'"f"', f'"f"\r\nContent-Transfer-Encoding: {encoding}'.encode())
        if good:
            parsed(memory, sent).close()
            continue
        with pytest.raises(UnsupportedMedia, match="Content-Transfer-Encoding"):
            parsed(memory, sent)
