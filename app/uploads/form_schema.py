"""Which fields a form may have, and how those of `POST /stylize` are read."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from app.capabilities import Capabilities
from app.uploads.fields import Field, fields
from app.webhooks.url_policy import PUBLIC, UrlPolicy
from workers.techniques import registry

FILE = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
"""A file in a form: both the words of JSON Schema and the format that generators of clients look for."""
CHARSET = "_charset_"
"""The field that names the charset of a form's texts (RFC 7578, section 4.6)."""
BRACKETS = re.compile(r"\[[0-9]{0,4}\]")
SINGLE_PICTURES = ("content_image", "control_image", "mask_image")
PICTURES = ("style_image", *SINGLE_PICTURES)
FILES = {"style_image": 4, **dict.fromkeys(SINGLE_PICTURES, 1), "recipe": 1}


@dataclass(frozen=True)
class FormSchema:
    """Which fields a form may have: texts, and files with the most of each.

    Texts that are `lists` may be there several times; their values are joined by commas. The pictures of `stored`
    fields may be named by the sha256 that the service has them by. `types` says of texts what a JSON body may hold in
    place of a string, in the words of JSON Schema.
    """

    texts: Collection[str]
    files: Mapping[str, int]
    lists: Collection[str] = ()
    stored: Collection[str] = ()
    types: Mapping[str, str] = field(default_factory=dict)

    def field_of(self, name: str) -> str | None:
        """Return the field that a name in a form means, with brackets as frameworks add them; None for an unknown."""
        known = (name, BRACKETS.sub("", name)) if name.endswith("]") else (name,)
        return next((one for one in known if one in self.files or one in self.texts or one == CHARSET), None)

    @property
    def known(self) -> str:
        """The names of all fields."""
        return ", ".join(dict.fromkeys((*self.files, *self.texts)))

    def pointer(self, name: str, index: int) -> str:
        """Return where the file number `index` of a field is, for errors."""
        return f"#/{name}/{index}" if self.files[name] > 1 else f"#/{name}"


@dataclass(frozen=True)
class StylizeSchema(FormSchema):
    """The fields of a request for pictures: each text with how it is read."""

    texts: Mapping[str, Field]


def build_stylize_schema(capabilities: Capabilities, rules: UrlPolicy = PUBLIC) -> StylizeSchema:
    """Return the form of a host that offers these methods and models; `rules` say where webhooks may go."""
    methods = (*registry.names(), *capabilities.aliases)
    texts = fields(methods, tuple(capabilities.bases), rules)
    types = {name: str(text.json_schema["type"]) for name, text in texts.items()}
    return StylizeSchema(texts, FILES, lists=("style_weights",), stored=PICTURES, types=types)
