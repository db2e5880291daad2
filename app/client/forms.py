"""Requests as forms: numbers and lists as text, pictures as files."""

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .http import HTTPRequest, Operation, call
from .models import Answer, File

FILES = {
    "style_images": "style_image",
    "content_image": "content_image",
    "control_image": "control_image",
    "mask_image": "mask_image",
}
"""The part of a form by the name of what holds its pictures."""
HEADERS = {"idempotency_key": "Idempotency-Key", "cancel_after": "Cancel-After"}
Part = tuple[str, tuple[str, bytes]]


def build_request(path: str, given: Mapping[str, Any], recipe: object = None) -> Operation[HTTPRequest]:
    """Return the request that posts what is given. Its key makes it one job, however often it is sent."""
    plain = given.keys() - FILES.keys() - HEADERS.keys()
    fields = {name: text_of(given[name]) for name in given if name in plain}
    files: list[Part] = []
    for name in FILES:
        files += yield from read_files(name, given.get(name))
    if isinstance(recipe, Answer):
        fields["recipe"] = recipe.model_dump_json()
    elif isinstance(recipe, Mapping):
        fields["recipe"] = json.dumps(recipe)
    elif recipe is not None:
        files += yield from read_files("recipe", recipe)
    headers = {HEADERS[name]: given[name] for name in HEADERS if given.get(name)}
    headers.setdefault("Idempotency-Key", uuid.uuid4().hex)
    return HTTPRequest("POST", path, fields=fields, files=files, headers=headers)


def read_files(name: str, given: Any) -> Operation[list[Part]]:
    """Return the parts of a form that hold a field's pictures, one, several or none."""
    several = given if isinstance(given, Sequence) and not isinstance(given, str | bytes) else [given]
    parts: list[Part] = []
    for one in several:
        if one is not None:
            file = yield from read_file(one, name)
            parts.append((FILES.get(name, name), file))
    return parts


def read_file(given: File, name: str) -> Operation[tuple[str, bytes]]:
    """Return a picture as its file's name and content."""
    if isinstance(given, bytes):
        return name, given
    path = Path(given)
    return path.name, (yield from call(path.read_bytes))


def text_of(value: object) -> str:
    """Return a value as the text of a form's field."""
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)
