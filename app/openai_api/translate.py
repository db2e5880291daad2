"""From the fields of OpenAI's image API to those of `POST /stylize`."""

import json
import re
from collections.abc import Mapping
from typing import Any

from app.capabilities import Capabilities
from app.errors import Fault, Invalid
from app.uploads.form_schema import FormSchema
from app.uploads.multipart import Form, escaped
from app.uploads.upload import Upload
from workers.techniques import registry

MOST_IMAGES = 16
IMAGES = ("image", "image[]")
FOREIGN = re.compile(r"(gpt-image|chatgpt-image|dall-e)[a-z0-9.-]*")
"""OpenAI's own models: they stand for the default method, so that programs written for them run."""
SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
RENAMED = {"n": "num_images"}
UNUSED = frozenset(
    {"quality", "background", "moderation", "output_compression", "user", "input_fidelity", "style", "partial_images"}
)
"""Taken and left: they say nothing to our methods."""
OWN = (*RENAMED, *UNUSED, "size", "response_format", "stream")
FORMATS = ("b64_json", "url")


def edits_schema(request: FormSchema) -> FormSchema:
    """Return the fields of `POST /v1/images/edits`: OpenAI's, and all of `POST /stylize`."""
    files = dict.fromkeys(IMAGES, MOST_IMAGES) | {"mask": 1} | dict(request.files)
    return FormSchema((*request.texts, *OWN), files)


def form_of(body: Mapping[str, Any], request: FormSchema) -> Form:
    """Return the form that a JSON body means. Raises Invalid naming the fields that we do not know."""
    known = {*request.texts, *OWN}
    if unknown := [name for name in body if name not in known]:
        raise Invalid.of([Fault(f"#/{escaped(name)}", "unknown field") for name in unknown])
    return Form(texts={name: _text(value) for name, value in body.items() if value is not None})


def translate(form: Form, capabilities: Capabilities, request: FormSchema) -> str:
    """Make a form of OpenAI's one of ours; return the response format it asks for. Raises Invalid."""
    wanted = form.texts.pop("response_format", "") or FORMATS[0]
    faults = []
    if wanted not in FORMATS:
        faults.append(Fault("#/response_format", f"must be one of {', '.join(FORMATS)}"))
    if form.texts.pop("stream", "") not in ("", "false", "False"):
        faults.append(Fault("#/stream", "is not supported; POST /stylize and follow the job's events"))
    if form.files.get("mask"):
        faults.append(Fault("#/mask", "is not supported: a method draws the whole picture"))
    if faults:
        raise Invalid.of(faults)
    for name in UNUSED:
        form.texts.pop(name, None)
    for theirs, ours in RENAMED.items():
        if theirs in form.texts:
            form.texts[ours] = form.texts.pop(theirs)
    _translate_size(form)
    _translate_model(form, capabilities)
    _sort_images(form, request)
    return wanted


def _translate_size(form: Form) -> None:
    size = form.texts.pop("size", "auto")
    if size in ("", "auto"):
        return
    found = SIZE.fullmatch(size)
    if not found:
        raise Invalid.of([Fault("#/size", "must be auto, or WIDTHxHEIGHT in pixels")])
    form.texts |= {"width": found[1], "height": found[2]}


def _translate_model(form: Form, capabilities: Capabilities) -> None:
    """`model` may name a method, as their models are what draws; a base model; or one of OpenAI's own."""
    model = form.texts.get("model", "")
    if model not in capabilities.bases:
        form.texts.pop("model", None)
        if model and not FOREIGN.fullmatch(model):
            form.texts.setdefault("method", model)


def _sort_images(form: Form, request: FormSchema) -> None:
    """Images are the style's references; the first is what to draw anew where a method needs that."""
    images = [upload for name in IMAGES for upload in form.files.pop(name, [])]
    if images and not form.files.get("content_image") and _needs_content(form.texts.get("method", "")):
        _move(form, "content_image", [images.pop(0)], request)
    if images:
        most = request.files["style_image"]
        styles = [*form.files.get("style_image", []), *images]
        _move(form, "style_image", styles, request)
        if len(styles) > most:
            raise Invalid.of([Fault("#/image", f"at most {most} style images")])


def _needs_content(method: str) -> bool:
    try:
        return registry.spec(method).inputs.content_image == "required"
    except KeyError:
        return False


def _move(form: Form, name: str, uploads: list[Upload], schema: FormSchema) -> None:
    form.files[name] = uploads
    for index, upload in enumerate(uploads):
        upload.pointer = schema.pointer(name, index)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value)
