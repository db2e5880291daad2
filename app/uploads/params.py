"""A technique's own parameters, read from JSON, and what is wrong with them in plain words."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.errors import Fault
from app.uploads.multipart import escaped
from workers.contract.spec import Params, Spec

BOUNDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
WORDS = ("from", "above", "to", "below")
NUMBERS = {"integer": "a whole number", "number": "a number"}
SUBJECT = re.compile(r"^(Input|Value|[A-Z][a-z]+) should ")
Schema = Mapping[str, Any]


def parse_params(text: str, spec: Spec) -> tuple[Params | None, list[Fault]]:
    """Return a technique's parameters, None when something is wrong, and the faults."""
    try:
        return spec.params.model_validate_json(text or "{}"), []
    except ValidationError as invalid:
        faults = invalid.errors(include_url=False, include_context=False, include_input=False)
    schema = spec.params_schema()
    return None, [
        Fault("/".join(("#/params", *(escaped(str(part)) for part in fault["loc"]))), _words(fault, schema, spec))
        for fault in faults
    ]


def _words(fault: ErrorDetails, schema: Schema, spec: Spec) -> str:
    place = fault["loc"]
    if fault["type"] == "missing":
        return "is required"
    if fault["type"] == "extra_forbidden":
        known = ", ".join(_schema_at(schema, place[:-1]).get("properties", {})) or "none"
        return f"unknown parameter of {spec.name}; known are {known}" if len(place) == 1 else f"unknown; known: {known}"
    found = _schema_at(schema, place)
    bounds = [f"{word} {found[name]:g}" for name, word in zip(BOUNDS, WORDS, strict=True) if name in found]
    if fault["type"].startswith(("greater_than", "less_than")) and bounds:
        return f"must be {NUMBERS.get(found.get('type', ''), 'a number')} {' '.join(bounds)}"
    message = fault["msg"].removeprefix("Value error, ").replace(" a valid ", " a ")
    return SUBJECT.sub("must ", message)


def _schema_at(root: Schema, place: Sequence[int | str]) -> Schema:
    """Return the schema of what stands at a place; an empty one where a union hides it."""
    found = _plain(root, root)
    for part in place:
        inner = found.get("items", {}) if isinstance(part, int) else found.get("properties", {}).get(part, {})
        found = _plain(inner, root)
    return found


def _plain(schema: Schema, root: Schema) -> Schema:
    """Return a schema without references, and of an optional value that of the value."""
    for option in schema.get("anyOf", ()):
        if option.get("type") != "null":
            return _plain(option, root)
    if "$ref" in schema:
        found: Schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema
