"""From the fields of OpenAI's image API to those of `POST /stylize`."""

import math
import re
from collections.abc import Mapping
from typing import Any

from app.capabilities import Capabilities
from app.errors import Fault, Invalid
from app.uploads.fields import MAX_SIZE, MIN_SIZE
from app.uploads.form_schema import FormSchema
from app.uploads.multipart import Form
from app.uploads.text_body import form_of_json
from app.uploads.upload import Upload
from model_store.catalogue.entry import SIZE_MULTIPLES
from workers.techniques import registry

MOST_IMAGES = 16
IMAGE, MASK = "image", "mask"
FOREIGN = re.compile(r"(gpt-image|chatgpt-image|dall-e)[a-z0-9.-]*")
"""OpenAI's own models: they stand for the default method, so that programs written for them run."""
SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
MOST_AREA = 2.25
"""Times the model's own size. Clients ask for 1024x1024 by habit: of more than this the model draws its own size."""
RENAMED = {"n": "num_images"}
UNUSED = frozenset(
    {"quality", "background", "moderation", "output_compression", "user", "input_fidelity", "style", "partial_images"}
)
"""Taken and left: they say nothing to our methods."""
OWN = (*RENAMED, *UNUSED, "size", "response_format", "stream")
FORMATS = ("b64_json", "url")
TYPES = {"n": "integer", "stream": "boolean"}
HOW = (
    "name a saved style, with the openai package by extra_body={'style_id': ...} (POST /styles saves one), or send "
    "pictures to /v1/images/edits"
)


def image_api_schema(request: FormSchema) -> FormSchema:
    """Return the fields of OpenAI's image API as taken here: its own, and all of `POST /stylize`."""
    files = {IMAGE: MOST_IMAGES, MASK: 1} | dict(request.files)
    types = {**request.types, **TYPES}
    return FormSchema((*request.texts, *OWN), files, lists=request.lists, stored=request.stored, types=types)


def form_of(body: Mapping[str, Any], request: FormSchema) -> Form:
    """Return the form that a JSON body means. Raises Invalid naming all faults."""
    asked = {name: value for name, value in body.items() if name not in UNUSED}
    return form_of_json(asked, image_api_schema(request))


def translate(form: Form, capabilities: Capabilities, request: FormSchema) -> str:
    """Make a form of OpenAI's one of ours; return the response format it asks for. Raises Invalid."""
    wanted = form.texts.pop("response_format", "") or FORMATS[0]
    faults = []
    if wanted not in FORMATS:
        faults.append(Fault("#/response_format", f"must be one of {', '.join(FORMATS)}"))
    if form.texts.pop("stream", "") not in ("", "false", "False"):
        faults.append(Fault("#/stream", "is not supported; POST /stylize and follow the job's events"))
    if faults:
        raise Invalid.of(faults)
    for name in UNUSED:
        form.texts.pop(name, None)
    for theirs, ours in RENAMED.items():
        if theirs in form.texts:
            form.texts[ours] = form.texts.pop(theirs)
    _translate_model(form, capabilities)
    _translate_size(form, capabilities)
    _sort_images(form, request)
    return wanted


def faults_of(invalid: Invalid, form: Form) -> list[Fault]:
    """Return what is wrong in the words of who called: their names of fields, and how to give a style."""
    return [_fault_of(fault, bool(form.count("style_image"))) for fault in invalid.errors]


def _fault_of(fault: Fault, has_style: bool) -> Fault:
    name, _, rest = fault.pointer.removeprefix("#/").partition("/")
    if name == "style_image" and not rest and not has_style:
        return Fault("#/style_id", f"{fault.detail}: {HOW}")
    theirs = {ours: theirs for theirs, ours in (RENAMED | {MASK: "mask_image"}).items()}
    return Fault(f"#/{theirs[name]}", fault.detail) if name in theirs else fault


def _translate_model(form: Form, capabilities: Capabilities) -> None:
    """`model` may name a base model; a method, as their models are what draws; or one of OpenAI's own.

    Raises Invalid for anything else, and for a method beside another.
    """
    model, method = form.texts.get("model", ""), form.texts.get("method", "")
    if model in capabilities.bases:
        return
    form.texts.pop("model", None)
    if not model or FOREIGN.fullmatch(model):
        return
    known = [*registry.names(), *capabilities.aliases]
    if model not in known:
        named = ", ".join((*capabilities.bases, *known))
        detail = f"there is no such model here; known are {named}, and OpenAI's own for the default method"
        raise Invalid.of([Fault("#/model", detail)])
    if method and registry.resolve(model) != registry.resolve(method if method in known else model):
        raise Invalid.of([Fault("#/model", f"names the method {model}, and `method` another: {method}")])
    form.texts["method"] = method or model
    running = capabilities.models_of(registry.spec(model))
    if running and capabilities.default_model not in running:
        form.texts["model"] = running[0]


def _translate_size(form: Form, capabilities: Capabilities) -> None:
    size = form.texts.pop("size", "auto")
    if size in ("", "auto"):
        return
    found = SIZE.fullmatch(size)
    if not found:
        raise Invalid.of([Fault("#/size", "must be auto, or WIDTHxHEIGHT in pixels")])
    width, height = int(found[1]), int(found[2])
    own = capabilities.own_pixels(form.texts.get("method", ""), form.texts.get("model", ""))
    step = SIZE_MULTIPLES[capabilities.bases[form.texts.get("model") or capabilities.default_model]]
    if width * height > MOST_AREA * own:
        scale = math.sqrt(own / (width * height))
        width, height = (max(MIN_SIZE, round(side * scale / step) * step) for side in (width, height))
    if not all(MIN_SIZE <= side <= MAX_SIZE and side % step == 0 for side in (width, height)):
        detail = f"sides must be from {MIN_SIZE} to {MAX_SIZE}, multiples of {step}; the model's own is auto"
        raise Invalid.of([Fault("#/size", detail)])
    form.texts |= {"width": str(width), "height": str(height)}


def _sort_images(form: Form, request: FormSchema) -> None:
    """Images are the style's references; the first is what to draw anew where a method, or a mask, needs that."""
    if form.files.get(MASK) and form.count("mask_image"):
        raise Invalid.of([Fault("#/mask", "give mask or mask_image, not both")])
    images, masks = form.files.pop(IMAGE, []), form.files.pop(MASK, [])
    if masks:
        _move(form, "mask_image", masks, request)
    needed = bool(masks) or _needs_content(form.texts.get("method", ""))
    if images and needed and not form.count("content_image"):
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
