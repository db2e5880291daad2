"""Recipe files as shells and editors leave them: other charsets, XMP written anew, PNG text in each of its forms."""

import json
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest

from app.uploads.decoder.picture_file import MAX_RECIPE_BYTES
from app.uploads.decoder.recipe_text import recipe_text
from tests.security.corpus.png import PIXELS, SIDE, chunk, png
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture, style
from workers.worker.encode import encode

RECIPE = '{"prompt": "a dog\'s \\"boat\\" & <über> \u96ea \uffff"}'
PLAIN = '{"prompt": "a dog\'s boat, ü"}'
PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:stylize="https://stylize.invalid/ns/1.0/"{}</rdf:Description></rdf:RDF></x:xmpmeta>'
)
KEY = b"stylize:recipe"
BOMB = zlib.compress(bytes(10_000_000))


def spelled(text: str, how: Callable[[str], str]) -> str:
    """The text with all that is special in XML, and all beyond ASCII, spelled as numbers."""
    return "".join(how(letter) if letter in "<>&'\"" or ord(letter) > 126 else letter for letter in text)


ESCAPED = spelled(PLAIN, lambda letter: f"&#{ord(letter)};")
HEXADECIMAL = spelled(PLAIN, lambda letter: f"&#x{ord(letter):X};")
NAMED = PLAIN.replace("&", "&amp;").replace("'", "&apos;").replace('"', "&quot;")
FORMS = {
    "decimal": f' stylize:recipe="{ESCAPED}">',
    "hexadecimal": f" stylize:recipe='{HEXADECIMAL}'>",
    "names": f'\n stylize:recipe\n = "{NAMED}">',
    "element": f"><stylize:recipe>{PLAIN}</stylize:recipe>",
    "element, escaped": f"><stylize:recipe>\n  {ESCAPED}\n</stylize:recipe>",
    "element, CDATA": f"><stylize:recipe><![CDATA[{PLAIN}]]></stylize:recipe>",
    "literal": f'><stylize:recipe rdf:parseType="Literal">{ESCAPED}</stylize:recipe>',
    "resource": f'><stylize:recipe rdf:parseType="Resource"><rdf:value>{PLAIN}</rdf:value></stylize:recipe>',
    "value": f'><stylize:recipe rdf:value="{ESCAPED}"/>',
    "alternatives": (
        f'><stylize:recipe>\n<rdf:Alt>\n<rdf:li xml:lang="x-default">{PLAIN}</rdf:li>\n</rdf:Alt></stylize:recipe>'
    ),
    "sequence": f"><stylize:recipe><rdf:Seq><rdf:li>{PLAIN}</rdf:li><rdf:li>other</rdf:li></rdf:Seq></stylize:recipe>",
    "another prefix": f' xmlns:ns1="https://stylize.invalid/ns/1.0/"><ns1:recipe>{PLAIN}</ns1:recipe>',
    "among others": f'><dc:title>a</dc:title><stylize:recipe>{PLAIN}</stylize:recipe><a b="c"/>',
}


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("form", FORMS)
def test_xmp_that_an_editor_wrote_anew_is_read(form: str, kind: str) -> None:
    packet = PACKET.format(FORMS[form])
    wrapped = f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{packet}\n<?xpacket end="w"?>'
    declared = '<?xml version="1.0" encoding="cp037"?>' + packet
    for text in (packet.encode(), wrapped.encode() + b"\n" * 50 + b"\0", packet.encode("utf-16"), declared.encode()):
        assert recipe_text(BytesIO(encoded(picture(), kind, xmp=text))).decode() == PLAIN


@pytest.mark.parametrize(
    "packet",
    [
        f"<!DOCTYPE a [<!ENTITY b '{NAMED}'>]>" + PACKET.format(' stylize:recipe="&b;">'),
        PACKET.format(f"><other:recipe>{PLAIN}</other:recipe>"),
        PACKET.format("><stylize:recipe/>"),
        PACKET.format(">") + "<" * 1000,
        PACKET.format(f' about="{"a" * (1 << 20)}"><stylize:recipe>{PLAIN}</stylize:recipe>'),
    ],
    ids=["entities", "another's", "empty", "broken", "too long"],
)
def test_other_xmp_has_no_recipe(packet: str) -> None:
    assert recipe_text(BytesIO(encoded(picture(), "WEBP", xmp=packet.encode()))) == b""


def international(text: bytes, *, keyword: bytes = KEY, language: bytes = b"", title: bytes = b"") -> bytes:
    return chunk(b"iTXt", keyword + b"\0\1\0" + language + b"\0" + title + b"\0" + zlib.compress(text))


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    "written",
    [
        chunk(b"tEXt", KEY + b"\0" + PLAIN.encode("latin-1")),
        chunk(b"zTXt", KEY + b"\0\0" + zlib.compress(PLAIN.encode("latin-1"))),
        chunk(b"iTXt", KEY + b"\0\0\0en\0Rezept\0" + PLAIN.encode()),
        international(PLAIN.encode()),
        international(PLAIN.encode(), language=b"de-DE", title="Rezépt".encode()),
        international(PACKET.format(FORMS["element"]).encode(), keyword=b"XML:com.adobe.xmp"),
        chunk(b"iTXt", KEY + b"\0\1\0\0\0" + BOMB) + chunk(b"tEXt", KEY + b"\0" + PLAIN.encode("latin-1")),
    ],
    ids=["tEXt", "zTXt", "iTXt", "packed", "packed, of a language", "XMP", "behind a bomb"],
)
def test_png_text_of_each_form_is_read(written: bytes, behind: bool) -> None:
    parts = (PIXELS, written) if behind else (written, PIXELS)
    assert recipe_text(BytesIO(png(SIDE, SIDE, *parts))).decode() == PLAIN


@pytest.mark.parametrize(
    "written",
    [
        chunk(b"zTXt", KEY + b"\0\0" + BOMB),
        chunk(b"iTXt", KEY + b"\0\1\0\0\0" + BOMB),
        international(bytes(MAX_RECIPE_BYTES + 1)),
        chunk(b"zTXt", KEY + b"\0\1" + zlib.compress(PLAIN.encode())),
        chunk(b"zTXt", KEY + b"\0\0" + zlib.compress(PLAIN.encode())[:-6]),
        chunk(b"iTXt", KEY + b"\0\1\0\0\0no zlib"),
        chunk(b"iTXt", KEY + b"\0\0\0\0\0\xff\xfe"),
        chunk(b"iTXt", KEY),
        chunk(b"tEXt", KEY + b"\0" + PLAIN.encode("latin-1"))[:-1] + b"x",
    ],
    ids=["bomb", "other bomb", "too long", "other way", "cut", "no zlib", "no UTF-8", "nothing", "checksum"],
)
def test_png_text_that_is_damaged_or_a_bomb_is_no_recipe(written: bytes) -> None:
    assert recipe_text(BytesIO(png(SIDE, SIDE, written, PIXELS))) == b""


def test_the_longest_text_may_be_packed() -> None:
    most = b"e" * MAX_RECIPE_BYTES
    assert recipe_text(BytesIO(png(SIDE, SIDE, international(most), PIXELS))) == most


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_any_text_of_the_workers_comes_back(kind: Any) -> None:
    assert json.loads(recipe_text(BytesIO(encode(picture(), kind, RECIPE)))) == json.loads(RECIPE)


def test_a_jpeg_without_end_marker_still_has_its_recipe() -> None:
    assert recipe_text(BytesIO(encode(picture(), "jpeg", PLAIN)[:-2])).decode() == PLAIN


def post(gateway: Gateway, data: bytes, name: str = "recipe.json") -> Any:
    return gateway.client.post("/stylize", files={"recipe": (name, data, "application/octet-stream")})


@pytest.fixture
def recipe(gateway: Gateway) -> dict[str, Any]:
    accepted: dict[str, Any] = gateway.accepted({"prompt": "a dog's ünïcode boat"})["recipe"]
    return accepted


@pytest.mark.parametrize(
    "written",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: ("\ufeff" + text).encode("utf-16-be"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-32"),
        lambda text: b"\r\n\t  \n" + text.encode() + b"\r\n\r\n",
        lambda text: b"\xef\xbb\xbf \r\n" + text.encode(),
        lambda text: ("\r\n" + text + "\r\n").encode("utf-16"),
        lambda text: json.dumps(json.loads(text), indent=4, ensure_ascii=False).replace("\n", "\r\n").encode(),
    ],
    ids=["BOM", "UTF-16", "big end", "no BOM", "UTF-32", "blanks", "BOM, blanks", "UTF-16, blanks", "indented"],
)
def test_json_files_of_shells_and_editors_are_read(
    gateway: Gateway, recipe: dict[str, Any], written: Callable[[str], bytes]
) -> None:
    answer = post(gateway, written(json.dumps(recipe, ensure_ascii=False)))
    assert answer.status_code == 202, answer.text
    assert answer.json()["recipe"] == recipe


def test_a_mark_before_the_text_of_a_field_is_nothing(gateway: Gateway, recipe: dict[str, Any]) -> None:
    text = "\ufeff\r\n" + json.dumps(recipe)
    answer = gateway.client.post("/stylize", files={"recipe": (None, text)})
    assert answer.json()["recipe"] == recipe


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"hello", "neither JSON nor a picture that carries a recipe"),
        (b"\xff\xfe", "neither JSON nor a picture that carries a recipe"),
        (b'{"prompt": "\xfc"}', "neither UTF-8 nor UTF-16"),
        (b'{"prompt": "' + b"a" * 200_000, "larger than 131,072 bytes"),
        (b"\0\0\0\x18ftypheic" + bytes(50), "is a HEIC picture"),
        (encoded(picture()), "neither JSON nor a picture that carries a recipe"),
    ],
    ids=["empty", "text", "mark", "charset", "too long", "HEIC", "picture"],
)
def test_what_is_no_recipe_is_told_apart(gateway: Gateway, data: bytes, words: str) -> None:
    answer = post(gateway, data)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "#/recipe"
    assert words in error["detail"]


def test_pictures_re_saved_bring_their_recipe_through_the_gateway(gateway: Gateway, recipe: dict[str, Any]) -> None:
    text = json.dumps(recipe)
    files = [
        png(SIDE, SIDE, international(text.encode()), PIXELS),
        png(SIDE, SIDE, chunk(b"zTXt", KEY + b"\0\0" + zlib.compress(text.encode())), PIXELS),
        encoded(picture(), "JPEG", xmp=PACKET.format(f"><stylize:recipe>{text}</stylize:recipe>").encode()),
    ]
    for file in files:
        assert post(gateway, file, "made.png").json()["recipe"] == recipe
        gateway.accepted(files=style(file))


def test_an_apostrophe_is_an_apostrophe_however_it_is_spelled(gateway: Gateway, recipe: dict[str, Any]) -> None:
    escaped = spelled(json.dumps(recipe), lambda letter: f"&#{ord(letter)};")
    file = encoded(picture(), "JPEG", xmp=PACKET.format(f' stylize:recipe="{escaped}">').encode())
    assert post(gateway, file, "made.jpg").json()["recipe"]["prompt"] == "a dog's ünïcode boat"
