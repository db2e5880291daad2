"""A recipe comes back: the completed request of an earlier job, as JSON or inside one of its pictures."""

import json
from contextlib import closing

from pydantic import ValidationError

from app.errors import Fault, Invalid, Unavailable
from app.uploads.decoder.formats import name_foreign
from app.uploads.decoder.pool import Decoder, DecoderLost
from app.uploads.form_schema import SINGLE_PICTURES
from app.uploads.limits import PictureFileRefused, format_of
from app.uploads.multipart import Form, escaped
from app.uploads.upload import Upload
from workers.contract.jobs.models import Recipe
from workers.techniques import registry

FIELD = "recipe"
PICTURES = {"style_image": "style_images"} | {name: name for name in SINGLE_PICTURES}
"""Fields of a form, and of a recipe, that hold the same pictures."""
PLAIN = (
    *("method", "model", "prompt", "negative_prompt", "seed", "num_images", "width", "height", "steps"),
    *("guidance_scale", "strength", "output_format"),
)
MAX_JSON_BYTES = 131_072
BLANK = "\ufeff \t\r\n"
NEITHER = "is neither JSON nor a picture that carries a recipe"


async def apply(form: Form, decoder: Decoder) -> None:
    """Fill a form from its recipe, if it has one; what stands beside the recipe goes before it.

    Raises Invalid or Unavailable.
    """
    text, uploads = form.texts.pop(FIELD, ""), form.files.pop(FIELD, [])
    try:
        found = [text] if text else []
        found += [await _inside(upload, decoder) for upload in uploads]
    finally:
        for upload in uploads:
            upload.close()
    if len(found) > 1:
        raise Invalid.of([Fault("#/recipe", "must be there once, as a text or as a file")])
    if found:
        _fill(form, read(found[0]))


def read(text: str) -> Recipe:
    """Return the recipe that a JSON describes. Raises Invalid naming each fault."""
    try:
        return Recipe.model_validate_json(text.lstrip(BLANK))
    except ValidationError as invalid:
        faults = invalid.errors(include_url=False, include_context=False, include_input=False)
    raise Invalid.of(
        [
            Fault("/".join(("#/recipe", *(escaped(str(part)) for part in fault["loc"]))), fault["msg"])
            for fault in faults
        ]
    )


async def _inside(upload: Upload, decoder: Decoder) -> str:
    """Return the recipe in a file: a picture that carries one, or the JSON itself. Raises Invalid or Unavailable."""
    if format_of(upload.head) is None:
        return _json_text(upload)
    try:
        with closing(await decoder.decode(upload)) as picture:
            recipe = picture.recipe
    except PictureFileRefused as refused:
        raise Invalid.of([Fault("#/recipe", f"the file is no JSON, and as a picture: {refused}")]) from refused
    except DecoderLost as lost:
        raise Unavailable("pictures cannot be decoded now") from lost
    if not recipe:
        raise Invalid.of([Fault("#/recipe", f"the file {NEITHER}")])
    return recipe


def _json_text(upload: Upload) -> str:
    """Return the text of a file as editors and shells write it, in UTF-8, UTF-16 or UTF-32. Raises Invalid."""
    data = upload.file.mapped[: min(upload.size, MAX_JSON_BYTES)]
    charset = json.detect_encoding(data)
    if not data.decode(charset, "replace").lstrip(BLANK).startswith("{"):
        fault = f"the file {name_foreign(upload.head) or NEITHER}"
    elif upload.size > MAX_JSON_BYTES:
        fault = f"the JSON is larger than {MAX_JSON_BYTES:,} bytes"
    else:
        try:
            return data.decode(charset)
        except UnicodeDecodeError:
            fault = "the JSON is neither UTF-8 nor UTF-16"
    raise Invalid.of([Fault("#/recipe", fault)])


def _fill(form: Form, recipe: Recipe) -> None:
    """Put what the recipe says where the form says nothing."""
    given = {name for name, text in form.texts.items() if text}
    texts = {name: str(value) for name in PLAIN if (value := getattr(recipe, name)) != ""}
    if "method" not in given or _same(form.texts["method"], recipe.method):
        texts["params"] = json.dumps(recipe.params)
    for field, name in PICTURES.items():
        stored = getattr(recipe, name)
        if stored and not form.count(field) and not (field == "style_image" and "style_id" in given):
            form.stored[field] = list(stored) if isinstance(stored, tuple) else [stored]
    if "style_image" in form.stored:
        texts["style_weights"] = ",".join(map(str, recipe.style_weights))
    form.texts = texts | {name: form.texts[name] for name in given}


def _same(method: str, technique: str) -> bool:
    """Return whether a method's name or alias means a technique."""
    try:
        return registry.resolve(method) == technique
    except KeyError:
        return False
