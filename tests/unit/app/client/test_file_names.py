"""Names of files: by template, plain on every system."""

import pytest

from app.client.file_names import BY_PROMPT, build_file_name, check_template, slug


def named(template: str, **told: object) -> str:
    given = {"n": 1, "index": 0, "prompt": "a boat", "seed": 42, "method": "style-id", "model": "starter", "job": "j1"}
    return build_file_name(template, "image/png", **{**given, **told})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("template", "told", "name"),
    [
        (BY_PROMPT, {}, "01-a-boat-seed42.png"),
        (BY_PROMPT, {"n": 123, "prompt": ""}, "123-style-id-seed42.png"),
        ("{method}_{seed:05}", {}, "style-id_00042.png"),
        ("../{prompt}/{n}", {"prompt": "../../etc"}, "-etc-1.png"),
        ("{job}-{index}", {"index": 3}, "j1-3.png"),
        (".{n}", {}, "1.png"),
        ("{n}:{seed}*", {}, "1-42-.png"),
        ("{n}" + "x" * 300, {}, "1" + "x" * 149 + ".png"),
    ],
)
def test_a_template_gives_a_plain_name(template: str, told: dict[str, object], name: str) -> None:
    assert named(template, **told) == name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A house, by a LAKE", "a-house-by-a-lake"),
        ("\u6e56\u7554\u7684\u623f\u5b50", "\u6e56\u7554\u7684\u623f\u5b50"),
        ("caf\u0065\u0301 _bar_", "caf\u00e9-bar"),
        ("!?", ""),
        ("a " * 30 + "end", "a-" * 19 + "a"),
        ("x" * 60, "x" * 40),
        ("line\nbreak", "line-break"),
    ],
)
def test_the_words_of_a_prompt(text: str, words: str) -> None:
    assert slug(text) == words


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{name}", "unknown name; a template may name n, index, prompt"),
        ("{n", "gives no names"),
        ("{n:s}", "gives no names"),
        ("{seed.__class__}", "unknown"),
        ("{prompt}", "gives all pictures of a job one name"),
        ("{}", "gives no names"),
    ],
)
def test_a_template_that_gives_no_names_is_refused(template: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_template(template)
