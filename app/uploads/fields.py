"""The text fields of a request: how each is read, what it may be, and how the documentation shows it."""

import math
import re
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from app.urls import MAX_URL
from app.webhooks.url_policy import PUBLIC, UrlPolicy
from workers.contract.blobs.names import OutputFormat
from workers.contract.jobs.models import PRIORITIES

MAX_TEXT = 2000
MAX_SEED = 2**63 - 1
DRAWN_SEEDS = 2**32
"""Drawn seeds are below: every JSON parser reads them as they are, also one that has doubles only."""
DRAW = -1
"""The seed that asks for a drawn one, as other tools have it."""
MAX_PIXELS = 2048 * 1536
MIN_SIZE, MAX_SIZE, SIZE_STEP = 64, 2048, 8
MAX_WEIGHT = 10.0
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
BREAKS = "\t\n\v\f\r\x85\u2028\u2029"
BREAK = re.compile(f"[{BREAKS}]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
NUMBER = re.compile(r"[+-]?([0-9]{1,32}(\.[0-9]{0,32})?|\.[0-9]{1,32})([eE][+-]?[0-9]{1,3})?")

RECIPE = {
    "type": "string",
    "description": "a job's `recipe`, or as a file a picture that carries one: makes the same pictures again. "
    "Other fields, if given, go before it. The references it names must still be stored",
}


@dataclass(frozen=True)
class Field:
    """One text field: `read` returns its value or raises ValueError with a sentence for the caller.

    `in_json` is its schema in a JSON body, where that may hold more than the same text.
    """

    read: Callable[[str], Any]
    schema: dict[str, Any]
    in_json: dict[str, Any] | None = None

    @property
    def json_schema(self) -> dict[str, Any]:
        """The schema of its values in a JSON body."""
        return self.in_json or self.schema


def text(help: str) -> Field:
    """A text of at most MAX_TEXT characters, in NFC; line breaks and tabs in it become spaces."""

    def read(value: str) -> str:
        normal = BREAK.sub(" ", unicodedata.normalize("NFC", value).strip(BREAKS))
        if len(normal) > MAX_TEXT:
            raise ValueError(f"must have at most {MAX_TEXT} characters, has {len(normal)}")
        if CONTROL.search(normal):
            raise ValueError("must not contain control characters other than line breaks and tabs")
        return normal

    return Field(read, {"type": "string", "maxLength": MAX_TEXT, "description": help})


def integer(low: int, high: int, help: str, *, multiple_of: int = 1) -> Field:
    """A whole number within bounds."""
    rule = f"must be a whole number from {low} to {high}" + (
        f", a multiple of {multiple_of}" if multiple_of > 1 else ""
    )

    def read(value: str) -> int:
        number = int(value) if INTEGER.fullmatch(value.strip()) else low - 1
        if not low <= number <= high or number % multiple_of:
            raise ValueError(rule)
        return number

    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high, "description": help}
    return Field(read, schema | ({"multipleOf": multiple_of} if multiple_of > 1 else {}))


def side() -> Field:
    """A side of the picture in pixels."""
    help = f"pixels; width x height at most {MAX_PIXELS}; multiples of 16 on FLUX; default by model"
    return integer(MIN_SIZE, MAX_SIZE, help, multiple_of=SIZE_STEP)


def draw_seed() -> int:
    """Return a seed for a request that names none."""
    return secrets.randbelow(DRAWN_SEEDS)


def seed(help: str) -> Field:
    """A seed; `-1` reads as None: one is to be drawn."""
    given = integer(0, MAX_SEED, "")

    def read(value: str) -> int | None:
        if value.strip() == str(DRAW):
            return None
        try:
            return int(given.read(value))
        except ValueError as fault:
            raise ValueError(f"{fault}, or {DRAW} to have one drawn") from fault

    return Field(read, {"type": "integer", "minimum": DRAW, "maximum": MAX_SEED, "description": help})


def number(low: float, high: float, help: str) -> Field:
    """A finite number within bounds."""

    def read(value: str) -> float:
        return finite(value, low, high)

    return Field(read, {"type": "number", "minimum": low, "maximum": high, "description": help})


def finite(value: str, low: float, high: float) -> float:
    """Return a number written in decimal. Raises ValueError for anything else, NaN and infinity included."""
    found = float(value) if NUMBER.fullmatch(value.strip()) else math.nan
    if not low <= found <= high:
        raise ValueError(f"must be a number from {low:g} to {high:g}")
    return found


def choice(options: tuple[str, ...], help: str, *, default: str | None = None) -> Field:
    """One of a few words."""

    def read(value: str) -> str:
        if value not in options:
            raise ValueError(f"must be one of {', '.join(options)}")
        return value

    schema: dict[str, Any] = {"type": "string", "enum": list(options), "description": help}
    return Field(read, schema | ({"default": default} if default else {}))


def served_model(models: tuple[str, ...], help: str) -> Field:
    """The id of a model: those of this host are not part of the API, which is the same on every host."""
    schema = {"type": "string", "maxLength": 100, "description": help, "examples": ["sdxl"]}
    return Field(choice(models, help).read, schema)


def weights(help: str) -> Field:
    """Numbers separated by commas, brackets allowed."""

    def read(value: str) -> tuple[float, ...]:
        bare = value.strip().removeprefix("[").removesuffix("]")
        found = tuple(finite(part, 0.0, MAX_WEIGHT) for part in bare.split(",")[:64])
        if not any(found):
            raise ValueError("must not all be 0")
        return found

    listed = {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": MAX_WEIGHT}}
    return Field(
        read,
        {"type": "string", "examples": ["1,0.5"], "description": help},
        listed | {"description": help.replace(", separated by commas", "")},
    )


def identifier(help: str) -> Field:
    """An id of something that was made before."""

    def read(value: str) -> str:
        if not ID.fullmatch(value):
            raise ValueError("is not an id")
        return value

    return Field(read, {"type": "string", "maxLength": 64, "pattern": f"^{ID.pattern}$", "description": help})


def webhook(rules: UrlPolicy, help: str) -> Field:
    """An address that a webhook may go to."""

    def read(value: str) -> str:
        return rules.target(value.strip()).url

    return Field(read, {"type": "string", "format": "uri", "maxLength": MAX_URL, "description": help})


def fields(methods: tuple[str, ...], models: tuple[str, ...], rules: UrlPolicy = PUBLIC) -> dict[str, Field]:
    """Return the text fields of a request to a host that serves these methods and models, the default model first."""
    return {
        "method": choice(
            methods,
            "a technique, or a family's alias; when absent the `recommended` one of GET /methods",
        ),
        "prompt": text("what to draw; required for text-driven methods"),
        "negative_prompt": text("what to keep out"),
        "seed": seed(
            "the same seed gives the same picture; picture n has seed + n. When absent or -1, one below 2^32 is drawn, "
            "which the job tells. Above 2^53 send and read it with a parser that keeps whole numbers"
        ),
        "num_images": integer(1, 8, "how many pictures; default 1"),
        "width": side(),
        "height": side(),
        "steps": integer(1, 150, "denoising steps; default by method and model"),
        "guidance_scale": number(0, 30, "classifier-free guidance; default by method and model"),
        "strength": number(0, 1, "how much style: 0 none, 1 all; each method documents its mapping"),
        "style_weights": weights("one number per style image, separated by commas; default 1 each"),
        "model": served_model(models, "a base model that the host serves, see GET /models; default: its first"),
        "params": Field(str, {"type": "string", "contentMediaType": "application/json"}, {"type": "object"}),
        "output_format": choice(get_args(OutputFormat), "the pictures' format", default="png"),
        "priority": choice(PRIORITIES, "interactive goes before batch", default=PRIORITIES[0]),
        "style_id": identifier("a saved style in place of style images; see POST /styles"),
        "recipe": Field(str, RECIPE, RECIPE | {"type": "object"}),
        "webhook_url": webhook(
            rules, "called when the job is final, signed after Standard Webhooks; https, public hosts only"
        ),
    }
