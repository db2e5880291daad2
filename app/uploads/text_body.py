"""Forms without files, as a web form or as a JSON object: the same fields, read and checked as those of multipart."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from app.errors import Fault, Invalid, TooLarge
from app.uploads.form_schema import FormSchema
from app.uploads.multipart import MAX_PARTS, Form, unknown_field
from app.uploads.texts import FormTexts

BYTES = "latin-1"
"""Keeps each byte as a letter: the charset is only known once all fields are there."""
RULES = {
    "integer": "must be a whole number",
    "number": "must be a number",
    "boolean": "must be true or false",
    "object": "must be an object",
    "array": "must be a list",
}
NUMERIC = ("integer", "number")


def form_of_urlencoded(body: bytes, charset: str, schema: FormSchema) -> Form:
    """Return the form in an application/x-www-form-urlencoded body. Raises Invalid, TooLarge or UnsupportedMedia."""
    try:
        fields = parse_qsl(body.decode(BYTES), keep_blank_values=True, encoding=BYTES, max_num_fields=MAX_PARTS)
    except ValueError as fault:
        raise TooLarge(f"the form has more than {MAX_PARTS} fields") from fault
    form, texts = Form(), FormTexts(schema, charset)
    for sent, value in ((sent.encode(BYTES), value.encode(BYTES)) for sent, value in fields):
        name = schema.field_of(sent.decode("utf-8", "replace"))
        if name is None:
            raise Invalid.of([unknown_field(sent.decode("utf-8", "replace"), schema)])
        if name in schema.files and name not in schema.texts:
            if value.strip():
                form.name_stored(name, value.strip(), schema)
        else:
            texts.add(name, value, charset="")
    form.texts = texts.decode()
    return form


def form_of_json(body: Mapping[str, Any], schema: FormSchema) -> Form:
    """Return the form that a JSON object means; null counts as absent. Raises Invalid naming all faults."""
    form, faults = Form(), list[Fault]()
    for sent, value in body.items():
        name = schema.field_of(sent)
        try:
            if name is None:
                faults.append(unknown_field(sent, schema))
            elif name in schema.files and name not in schema.texts:
                _name_stored(form, name, value, schema)
            elif value is not None:
                form.texts[name] = _text_of(value, schema.types.get(name, "string"), name in schema.lists)
        except ValueError as fault:
            faults.append(Fault(f"#/{name}", str(fault)))
        except Invalid as invalid:
            faults += invalid.errors
    if faults:
        raise Invalid.of(faults)
    return form


def _name_stored(form: Form, name: str, value: Any, schema: FormSchema) -> None:
    for one in value if isinstance(value, list) else [] if value is None else [value]:
        form.name_stored(name, one.encode() if isinstance(one, str) else b"", schema)


def _text_of(value: Any, kind: str, several: bool) -> str:
    """Return a value as it would be in a form. Raises ValueError for one that is not of the field's kind."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and (several or kind == "array"):
        return ",".join(_text_of(one, "number" if kind == "array" else kind, False) for one in value)
    if isinstance(value, bool):
        if kind == "boolean":
            return json.dumps(value)
    elif isinstance(value, int | float) and kind in NUMERIC:
        return str(int(value) if kind == "integer" and isinstance(value, float) and value.is_integer() else value)
    elif isinstance(value, dict) and kind == "object":
        return json.dumps(value)
    raise ValueError(RULES.get(kind, "must be a string"))
