"""The text fields: what is read, what is refused, and with which words."""

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.uploads.fields import MAX_SEED, MAX_TEXT, Field, draw_seed, fields

FIELDS = fields(("signal-leak", "prior-noise"), ("tiny-sd15", "tiny-sdxl"))


def refusal(name: str, value: str) -> str:
    with pytest.raises(ValueError) as caught:
        FIELDS[name].read(value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("seed", "0", 0),
        ("seed", str(MAX_SEED), MAX_SEED),
        ("seed", " 7 ", 7),
        ("num_images", "8", 8),
        ("width", "64", 64),
        ("height", "2048", 2048),
        ("steps", "150", 150),
        ("guidance_scale", "30", 30.0),
        ("guidance_scale", "1e1", 10.0),
        ("strength", "0", 0.0),
        ("strength", "1", 1.0),
        ("strength", ".5", 0.5),
        ("style_weights", "1,0.5", (1.0, 0.5)),
        ("style_weights", "[1, 0.5]", (1.0, 0.5)),
        ("seed", "-1", None),
        ("seed", " -1 ", None),
        ("prompt", "e\u0301", "\u00e9"),
        ("prompt", "a house\r\nby a lake\r\n", "a house by a lake"),
        ("negative_prompt", "\ta\tb\n\n\nc\u2028d", "a b c d"),
        ("prompt", " a  b ", " a  b "),
        ("output_format", "webp", "webp"),
        ("priority", "batch", "batch"),
    ],
)
def test_good_values(name: str, value: str, wanted: object) -> None:
    assert FIELDS[name].read(value) == wanted


@pytest.mark.parametrize("name", ["seed", "num_images", "width", "height", "steps", "guidance_scale", "strength"])
@pytest.mark.parametrize(
    "value",
    [
        "nan",
        "NaN",
        "inf",
        "-inf",
        "Infinity",
        "1e999",
        "true",
        "False",
        "None",
        "0x10",
        "1_000",
        "١",
        "1,5",
        "one",
        "--1",
        "9" * 40,
        "-2",
        "{}",
    ],
)
def test_what_is_no_number_within_bounds_is_refused_with_the_bounds(name: str, value: str) -> None:
    assert "from" in refusal(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", str(MAX_SEED + 1)),
        ("seed", "1.0"),
        ("num_images", "0"),
        ("num_images", "9"),
        ("width", "63"),
        ("width", "68"),
        ("width", "2056"),
        ("steps", "0"),
        ("steps", "151"),
        ("guidance_scale", "30.01"),
        ("strength", "1.0001"),
        ("style_weights", "0,0"),
        ("style_weights", "1,,2"),
        ("style_weights", "-1"),
        ("style_weights", "11"),
        ("method", "stable"),
        ("model", "sdxl"),
        ("output_format", "gif"),
        ("priority", "urgent"),
    ],
)
def test_out_of_bounds(name: str, value: str) -> None:
    assert refusal(name, value).startswith("must ")


@pytest.mark.parametrize("name", ["prompt", "negative_prompt"])
def test_texts_are_limited_after_normalisation(name: str) -> None:
    assert FIELDS[name].read("e\u0301" * MAX_TEXT) == "\u00e9" * MAX_TEXT
    assert "at most 2000 characters, has 2001" in refusal(name, "a" * 2001)


@given(st.text(max_size=100))
def test_texts_are_normal_and_free_of_control_characters(value: str) -> None:
    try:
        read = FIELDS["prompt"].read(value)
    except ValueError:
        assert any(unicodedata.category(letter) == "Cc" for letter in unicodedata.normalize("NFC", value))
    else:
        assert read.split() == unicodedata.normalize("NFC", value).split()
        assert not any(unicodedata.category(letter) == "Cc" for letter in read)


@given(st.text(max_size=30) | st.floats().map(str))
def test_numbers_are_finite_and_within_bounds_whatever_is_sent(value: str) -> None:
    for name, low, high in (("strength", 0.0, 1.0), ("guidance_scale", 0.0, 30.0)):
        try:
            read = FIELDS[name].read(value)
        except ValueError:
            continue
        assert math.isfinite(read)
        assert low <= read <= high


def test_drawn_seeds_are_what_every_json_parser_reads() -> None:
    drawn = {draw_seed() for _ in range(100)}
    assert len(drawn) > 90
    assert all(0 <= seed < 2**32 for seed in drawn)


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_each_field_is_documented(field: Field) -> None:
    assert field.schema["type"]
