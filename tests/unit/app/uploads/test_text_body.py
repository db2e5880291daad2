"""Forms without files: what a web form and a JSON object mean, and what neither may hold."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid, Problem, TooLarge
from app.uploads.form_schema import FormSchema
from app.uploads.text_body import form_of_json, form_of_urlencoded

SHA = "ab" * 32
OTHER = "cd" * 32
SCHEMA = FormSchema(
    ("prompt", "seed", "strength", "params", "recipe", "style_weights", "method", "stream"),
    {"style_image": 2, "content_image": 1, "recipe": 1, "mask": 1},
    lists=("method", "style_weights"),
    stored=("style_image", "content_image"),
    types={
        "seed": "integer",
        "strength": "number",
        "params": "object",
        "recipe": "object",
        "style_weights": "array",
        "stream": "boolean",
    },
)


@pytest.mark.parametrize(
    ("body", "charset", "texts"),
    [
        (b"prompt=a+house&seed=7", "", {"prompt": "a house", "seed": "7"}),
        (b"prompt=caf%C3%A9", "", {"prompt": "café"}),
        ("prompt=café".encode(), "utf-8", {"prompt": "café"}),
        (b"prompt=caf%E9", "iso-8859-1", {"prompt": "café"}),
        (b"prompt=caf%E9&_charset_=windows-1252", "", {"prompt": "café"}),
        (b"prompt=a%0D%0Ab%26%3D", "", {"prompt": "a\r\nb&="}),
        (b"method=a&method%5B%5D=b&method[2]=c", "", {"method": "a,b,c"}),
        (b"prompt=&params=%7B%7D", "", {"prompt": "", "params": "{}"}),
        (b"", "", {}),
    ],
)
def test_a_web_form(body: bytes, charset: str, texts: dict[str, str]) -> None:
    assert form_of_urlencoded(body, charset, SCHEMA).texts == texts


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({"prompt": "a", "seed": 7, "strength": 0.5}, {"prompt": "a", "seed": "7", "strength": "0.5"}),
        ({"seed": "9223372036854775807", "strength": 1}, {"seed": "9223372036854775807", "strength": "1"}),
        ({"seed": 7.0, "strength": 1e-7}, {"seed": "7", "strength": "1e-07"}),
        ({"params": {"a": [1, None]}, "recipe": "{}"}, {"params": '{"a": [1, null]}', "recipe": "{}"}),
        ({"style_weights": [1, 0.5], "method": ["a", "b"]}, {"style_weights": "1,0.5", "method": "a,b"}),
        ({"method": "a", "style_weights": "1,0.5"}, {"method": "a", "style_weights": "1,0.5"}),
        ({"prompt": None, "style_image": None, "stream": False}, {"stream": "false"}),
    ],
)
def test_a_json_object(body: dict[str, Any], texts: dict[str, str]) -> None:
    assert form_of_json(body, SCHEMA).texts == texts


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("prompt", 7, "must be a string"),
        ("prompt", ["a"], "must be a string"),
        ("prompt", {"text": "a"}, "must be a string"),
        ("prompt", True, "must be a string"),
        ("seed", True, "must be a whole number"),
        ("seed", [7], "must be a whole number"),
        ("strength", {}, "must be a number"),
        ("params", [], "must be an object"),
        ("params", 1, "must be an object"),
        ("style_weights", [[1]], "must be a number"),
        ("style_weights", {"a": 1}, "must be a list"),
        ("method", [1], "must be a string"),
        ("method", [["a"]], "must be a string"),
        ("stream", 0, "must be true or false"),
        ("style_image", "a.png", "sha256"),
        ("style_image", [SHA.upper()], "sha256"),
        ("style_image", [SHA] * 3, "at most 2"),
        ("content_image", {"url": "a"}, "sha256"),
        ("mask", SHA, "as a file"),
        ("nothing", 1, "unknown field; known are style_image, content_image, recipe, mask, prompt"),
    ],
)
def test_what_json_may_not_hold(field: str, value: Any, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        form_of_json({"seed": 7, field: value}, SCHEMA)
    (fault,) = refused.value.errors
    assert fault.pointer == f"#/{field}"
    assert words in fault.detail


def test_all_faults_of_a_json_object_are_told() -> None:
    with pytest.raises(Invalid) as refused:
        form_of_json({"prompt": 1, "seed": [], "nothing": 0}, SCHEMA)
    assert [fault.pointer for fault in refused.value.errors] == ["#/prompt", "#/seed", "#/nothing"]


def test_stored_pictures_are_named_by_their_sha256() -> None:
    for form in (
        form_of_json({"style_image": [SHA, OTHER], "content_image": SHA}, SCHEMA),
        form_of_urlencoded(f"style_image[]={SHA}&style_image={OTHER}&content_image={SHA}".encode(), "", SCHEMA),
    ):
        assert form.stored == {"style_image": [SHA, OTHER], "content_image": [SHA]}
        assert form.texts == {}


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"nothing=1", Invalid, "unknown field"),
        (b"prompt=a&prompt=b", Invalid, "more than once"),
        (b"prompt=%FF", Invalid, "must be UTF-8"),
        (b"style_image=photo.png", Invalid, "as a file"),
        (b"prompt=a&" * 40, TooLarge, "32 fields"),
        (b"prompt=%ED%A0%BC", Invalid, "must be UTF-8"),
    ],
)
def test_what_a_web_form_may_not_hold(body: bytes, kind: type[Problem], words: str) -> None:
    with pytest.raises(kind, match=words):
        form_of_urlencoded(body, "", SCHEMA)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*SCHEMA.texts, *SCHEMA.files]) | st.text(max_size=5), JSON_VALUES, max_size=4))
def test_any_json_object_is_a_form_or_refused(body: dict[str, Any]) -> None:
    try:
        form = form_of_json(body, SCHEMA)
    except Invalid as refused:
        assert refused.errors  # noqa: PT017
    else:
        assert all(isinstance(text, str) for text in form.texts.values())
