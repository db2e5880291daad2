"""From one form with lists to the forms of its jobs: every method with every strength and every seed."""

import json
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

from app.errors import Fault, Invalid
from app.uploads.fields import DRAW, draw_seed
from app.uploads.form_schema import FormSchema
from app.uploads.multipart import Form
from workers.techniques import registry

LISTS = ("method", "strength", "seed")
MOST_CELLS = 64
MOST_LABEL = 34
NOT_COMPARED = ("recipe", "webhook_url")
T = TypeVar("T")


@dataclass(frozen=True)
class Variant:
    """One job of a comparison: its form, and what it is called."""

    label: str
    form: Form


def comparison_schema(request: FormSchema) -> FormSchema:
    """Return the fields of a comparison: those of a request, some of them several times."""
    texts = tuple(name for name in request.texts if name not in NOT_COMPARED)
    files = {name: most for name, most in request.files.items() if name not in NOT_COMPARED}
    types = {name: kind for name, kind in request.types.items() if name in texts}
    return FormSchema(texts, files, lists=(*LISTS, *request.lists), stored=request.stored, types=types)


def expand(form: Form) -> list[Variant]:
    """Return what a form asks for, the methods in the order given. Raises Invalid."""
    lists = {name: _values(form.texts.get(name, "")) for name in LISTS}
    if not lists["method"]:
        raise Invalid.of([Fault("#/method", "is required, once for each method to compare")])
    seeds = lists["seed"] or [str(DRAW)]  # one for all: only then they compare
    lists["seed"] = [str(draw_seed()) if seed == str(DRAW) else seed for seed in seeds]
    count = len(lists["method"]) * len(lists["seed"]) * max(1, len(lists["strength"]))
    if count > MOST_CELLS:
        raise Invalid.of([Fault("#/method", f"methods x strengths x seeds make {count} jobs; at most {MOST_CELLS}")])
    params = _params(form.texts.get("params", ""), lists["method"])
    found = []
    for method, strength, seed in product(lists["method"], lists["strength"] or [""], lists["seed"]):
        texts = form.texts | {"method": method, "strength": strength, "seed": seed, "params": params.get(method, "")}
        shown = [method]
        shown += [strength] if len(lists["strength"]) > 1 else []
        shown += [f"seed {seed}"] if len(lists["seed"]) > 1 else []
        files, stored = _taken(form.files, method), _taken(form.stored, method)
        found.append(Variant(" ".join(shown)[:MOST_LABEL], Form(texts, files, stored)))
    return found


def _values(text: str) -> list[str]:
    """Return the values of a list, each once: fields of the same name, or separated by commas."""
    return list(dict.fromkeys(value.strip() for value in text.split(",") if value.strip()))


def _params(text: str, methods: list[str]) -> dict[str, str]:
    """Return each method's own parameters, as JSON. Raises Invalid."""
    try:
        found: Any = json.loads(text or "{}")
    except (ValueError, RecursionError) as fault:
        raise Invalid.of([Fault("#/params", "must be JSON")]) from fault
    if not isinstance(found, dict):
        raise Invalid.of([Fault("#/params", "must be an object: the parameters of each method by its name")])
    if unknown := [name for name in found if name not in methods]:
        raise Invalid.of([Fault("#/params", f"names methods that are not compared: {', '.join(unknown)[:100]}")])
    return {name: json.dumps(parameters) for name, parameters in found.items()}


def _taken(pictures: dict[str, list[T]], method: str) -> dict[str, list[T]]:
    """Return the pictures that a method takes: a comparison may have some that only others need."""
    try:
        inputs = registry.spec(method).inputs
    except KeyError:
        return dict(pictures)
    left_out = {"content_image"} if inputs.content_image == "none" else set()
    left_out |= {"mask_image"} if inputs.mask_image == "none" else set()
    left_out |= set() if inputs.controls else {"control_image"}
    return {name: given for name, given in pictures.items() if name not in left_out}
