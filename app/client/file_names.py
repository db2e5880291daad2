"""Names of picture files that tell what is in them, by a template such as `{n:02}-{prompt}-seed{seed}`."""

import re
import unicodedata
from string import Formatter

SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
BY_PROMPT = "{n:02}-{prompt}-seed{seed}"
BY_JOB = "{job}-{index}"
FIELDS = ("n", "index", "prompt", "seed", "method", "model", "job")
"""What a template may name: `n` counts from 1, `index` is the picture's number in its job, from 0."""
MOST_PROMPT = 40
MOST_NAME = 150


def check_template(template: str) -> str:
    """Return a template that gives names. Raises ValueError with a sentence that says what is wrong."""
    known = f"a template may name {', '.join(FIELDS)}"
    try:
        named = {field for _, field, _, _ in Formatter().parse(template) if field is not None}
        if unknown := named - set(FIELDS):
            raise ValueError(f"unknown {', '.join(sorted(unknown))}; {known}")
        build_file_name(template, "image/png", n=1, index=0, prompt="a", seed=1, method="m", model="m", job="j")
    except (ValueError, IndexError, KeyError, AttributeError) as fault:
        raise ValueError(f"{template!r} gives no names: {fault or known}") from fault
    if not named & {"n", "index", "seed"}:
        raise ValueError(f"{template!r} gives all pictures of a job one name: put {{n}}, {{index}} or {{seed}} into it")
    return template


def build_file_name(
    template: str, content_type: str, *, n: int, index: int, prompt: str, seed: int, method: str, model: str, job: str
) -> str:
    """Return the name of a file in a folder: no path, no hidden file, no character that a system refuses."""
    words = {"prompt": slug(prompt) or slug(method), "method": slug(method), "model": slug(model), "job": job}
    stem = template.format(n=n, index=index, seed=seed, **words)
    plain = re.sub(r'[\x00-\x1f/\\:*?"<>|]', "-", stem).strip(". ")[:MOST_NAME]
    return f"{plain or n}.{SUFFIXES.get(content_type, 'bin')}"


def slug(text: str) -> str:
    """Return the words of a text in small letters with dashes between them, at most MOST_PROMPT characters."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).lower().replace("_", " "))
    short = "-".join(words)
    if len(short) <= MOST_PROMPT:
        return short
    whole = short[: MOST_PROMPT + 1].rpartition("-")[0]  # not in the middle of a word, where there are several
    return whole or short[:MOST_PROMPT]
