"""Which fields a form may have, and how those of `POST /stylize` are read."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from app.capabilities import Capabilities
from app.uploads.fields import Field, fields
from app.webhooks.url_policy import PUBLIC, UrlPolicy
from workers.techniques import registry

FILE = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
"""A file in a form: both the words of JSON Schema and the format that generators of clients look for."""
FILES = {"style_image": 4, "content_image": 1, "control_image": 1, "recipe": 1}


@dataclass(frozen=True)
class FormSchema:
    """Which fields a form may have: texts, and files with the most of each.

    Texts that are `lists` may be there several times; their values are joined by commas.
    """

    texts: Collection[str]
    files: Mapping[str, int]
    lists: Collection[str] = ()

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
    return StylizeSchema(fields(methods, tuple(capabilities.bases), rules), FILES)
