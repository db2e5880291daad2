"""The forms that save and prepare styles: their fields, how the documentation shows them, and what they say."""

from typing import Any

from app.errors import Fault, Invalid
from app.uploads.decoder.formats import check_formats
from app.uploads.fields import Field, text, weights
from app.uploads.form_schema import FILE, FormSchema
from app.uploads.multipart import Form
from workers.techniques import registry

MOST_REFERENCES = 10
MOST_NAME = 100
FIELDS: dict[str, Field] = {
    "name": text("what people call it"),
    "style_weights": weights("one number per style image, separated by commas; default 1 each"),
}
METHODS: dict[str, Any] = {
    "type": "array",
    "items": {"type": "string", "enum": [*registry.names(), *registry.ALIASES]},
    "maxItems": len(registry.names()) + len(registry.ALIASES),
}
MODEL = {"type": "string", "description": "the base model to prepare for; default: the first the host serves"}
PREPARED = {"precompute": METHODS | {"description": "methods to prepare the style for at once"}, "model": MODEL}
STYLE_FORM = FormSchema((*FIELDS, *PREPARED), {"style_image": MOST_REFERENCES}, lists=("precompute",))
STYLE_BODY = {
    "type": "object",
    "required": ["name", "style_image"],
    "additionalProperties": False,
    "properties": {
        "name": FIELDS["name"].schema | {"minLength": 1, "maxLength": MOST_NAME},
        "style_weights": FIELDS["style_weights"].schema,
        "style_image": {"type": "array", "items": FILE, "minItems": 1, "maxItems": MOST_REFERENCES},
        **PREPARED,
    },
}
PRECOMPUTE_FORM = FormSchema(("method", "model"), {}, lists=("method",))
PRECOMPUTE_BODY = {
    "type": "object",
    "required": ["method"],
    "additionalProperties": False,
    "properties": {"method": METHODS | {"minItems": 1, "description": "what to prepare for"}, "model": MODEL},
}


def parse_style(form: Form) -> tuple[str, tuple[float, ...]]:
    """Return the name and the weights that a form gives. Raises Invalid naming all faults, or UnsupportedMedia."""
    values, faults = {}, []
    for name in (name for name in FIELDS if name in form.texts):
        try:
            values[name] = FIELDS[name].read(form.texts[name])
        except ValueError as fault:
            faults.append(Fault(f"#/{name}", str(fault)))
    name = str(values.get("name", "")).strip()
    if "name" not in {fault.pointer[2:] for fault in faults} and not 0 < len(name) <= MOST_NAME:
        faults.append(Fault("#/name", f"must have 1 to {MOST_NAME} characters"))
    count = form.count("style_image")
    if not count:
        faults.append(Fault("#/style_image", f"1 to {MOST_REFERENCES} are required"))
    shares = values.get("style_weights", (1.0,) * count)
    if len(shares) != count:
        faults.append(Fault("#/style_weights", f"must have one number per style image: {count}"))
    if faults:
        raise Invalid.of(faults)
    check_formats(form.uploads())
    return name, shares


def parse_methods(form: Form, name: str) -> list[str]:
    """Return the methods in a list of a form."""
    return [method.strip() for method in form.texts.get(name, "").split(",") if method.strip()]
