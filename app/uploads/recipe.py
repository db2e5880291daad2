"""A recipe comes back: the completed request of an earlier job, as JSON or inside one of its pictures."""

import json

from pydantic import ValidationError

from app.errors import Fault, Invalid
from app.uploads.decoder.embedded_recipe import embedded_recipe
from app.uploads.multipart import Form, escaped
from app.uploads.upload import Upload
from workers.contract.jobs.models import Recipe
from workers.techniques import registry

FIELD = "recipe"
PICTURES = {"style_image": "style_images", "content_image": "content_image", "control_image": "control_image"}
"""Fields of a form, and of a recipe, that hold the same pictures."""
PLAIN = (
    *("method", "model", "prompt", "negative_prompt", "seed", "num_images", "width", "height", "steps"),
    *("guidance_scale", "strength", "output_format"),
)


def apply(form: Form) -> None:
    """Fill a form from its recipe, if it has one; what stands beside the recipe goes before it. Raises Invalid."""
    text, uploads = form.texts.pop(FIELD, ""), form.files.pop(FIELD, [])
    try:
        found = [text] if text else []
        found += [_inside(upload) for upload in uploads]
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
        return Recipe.model_validate_json(text)
    except ValidationError as invalid:
        faults = invalid.errors(include_url=False, include_context=False, include_input=False)
    raise Invalid.of(
        [
            Fault("/".join(("#/recipe", *(escaped(str(part)) for part in fault["loc"]))), fault["msg"])
            for fault in faults
        ]
    )


def _inside(upload: Upload) -> str:
    """Return the recipe in a file: a picture that carries one, or the JSON itself. Raises Invalid."""

    def part(offset: int, size: int) -> bytes:
        return upload.file.mapped[offset : min(offset + size, upload.size)]

    if part(0, 1) == b"{":
        return part(0, upload.size).decode("utf-8", "replace")
    recipe = embedded_recipe(part)
    if recipe is None:
        raise Invalid.of([Fault("#/recipe", "the file is neither JSON nor a picture that carries a recipe")])
    return recipe


def _fill(form: Form, recipe: Recipe) -> None:
    """Put what the recipe says where the form says nothing."""
    given = {name for name, text in form.texts.items() if text}
    texts = {name: str(value) for name in PLAIN if (value := getattr(recipe, name)) != ""}
    if "method" not in given or _same(form.texts["method"], recipe.method):
        texts["params"] = json.dumps(recipe.params)
    for field, name in PICTURES.items():
        stored = getattr(recipe, name)
        if stored and not form.files.get(field) and not (field == "style_image" and "style_id" in given):
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
