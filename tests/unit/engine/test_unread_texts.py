"""The end of a text that no encoder reads is told in the job, for every text that a request may hold."""

import pytest

from model_store.catalogue.entry import PROMPT_TOKENS
from tests.unit.engine.test_engine import STYLE, engine_of, quiet, request
from workers.engine.backbones.stable_diffusion import StableDiffusion

READ = "x" * 75
"""The tiny tokenizers make a token of each byte; 77 tokens are read, two of which mark beginning and end."""


def told(field: str, backbone: StableDiffusion, rest: str) -> str:
    return f"{field} is longer than the 77 tokens that a text encoder of {backbone.name} reads; not read: {rest}"


def test_prompts_that_differ_behind_what_is_read_give_one_picture_and_say_so(backbone: StableDiffusion) -> None:
    engine = engine_of(backbone)
    plain, cat, dog = (
        engine.stylize(request(model=backbone.name, prompt=READ + end), STYLE, watch=quiet)
        for end in ("", " a cat", " a dog")
    )
    assert plain.pictures[0].tobytes() == cat.pictures[0].tobytes() == dog.pictures[0].tobytes()
    assert plain.warnings == ()
    assert len(READ) == PROMPT_TOKENS[backbone.base]
    assert cat.warnings == (told("prompt", backbone, "a cat"),)
    assert dog.warnings == (told("prompt", backbone, "a dog"),)


@pytest.mark.parametrize("end", ["", " ", "\n\t "], ids=["nothing", "space", "spaces"])
def test_what_is_read_whole_needs_no_words(backbone: StableDiffusion, end: str) -> None:
    assert backbone.unread("") == {}
    assert backbone.unread(READ + end) == {}


@pytest.mark.parametrize(
    ("text", "rest"), [("é" * 40, "é" * 3), (READ + "日本", "日本"), ("a" * 74 + " red Boat", "ed Boat")]
)
def test_the_rest_is_in_the_words_of_the_text(sd15: StableDiffusion, text: str, rest: str) -> None:
    assert sd15.unread(text) == {rest: 77}


def test_each_encoder_has_its_own_limit(sdxl: StableDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdxl.components["tokenizer_2"], "model_max_length", 72)
    assert sdxl.unread(READ + "yz") == {"yz": 77, "xxxxxyz": 72}


def test_every_text_is_looked_at(sd15: StableDiffusion) -> None:
    asked = request(
        method="style-aligned",
        prompt=READ + "1",
        negative_prompt=READ + "2",
        params={"reference_prompt": READ + "3"},
        width=128,
        height=128,
    )
    rendered = engine_of(sd15).stylize(asked, STYLE, watch=quiet)
    fields = ("prompt", "negative_prompt", "params.reference_prompt")
    assert rendered.warnings == tuple(told(field, sd15, str(n)) for n, field in enumerate(fields, 1))
