"""The catalogue: every model this service knows, as data in `data/*.toml`. Never imports torch.

An operator's own models (`stylize models add`) are entries of the store; functions that take `store` know them too.
"""

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from model_store.catalogue.entry import Base, Entry
from model_store.errors import StoreDamaged, UnknownModel


@cache
def shipped_entries() -> Mapping[str, Entry]:
    """Return the entries that come with this package by id, read once."""
    found: dict[str, Entry] = {}
    for file in sorted(resources.files("model_store.catalogue.data").iterdir(), key=lambda item: item.name):
        if not file.name.endswith(".toml"):
            continue
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        for raw in content["entry"]:
            entry = Entry.model_validate({"served": content.get("served", True)} | raw)
            if entry.id in found:
                raise ValueError(f"{file.name}: the id {entry.id} is taken")
            found[entry.id] = entry
    return MappingProxyType(found)


def added_entries(store: Path) -> Mapping[str, Entry]:
    """Return the operator's own entries of a store by id.

    Raises StoreDamaged naming the file that cannot be read.
    """
    found: dict[str, Entry] = {}
    for file in sorted((store / "added").glob("*.json")):
        try:
            entry = Entry.model_validate_json(file.read_bytes())
        except (ValidationError, OSError) as fault:
            raise StoreDamaged(f"{file}: {fault}") from fault
        found[entry.id] = entry
    return found


def entries(store: Path | None = None) -> Mapping[str, Entry]:
    """Return all entries by id: those of this package and, given a store, the operator's own."""
    if store is None:
        return shipped_entries()
    return MappingProxyType({**added_entries(store), **shipped_entries()})


def entry_of(model: str, store: Path | None = None) -> Entry:
    """Return the entry of an id. Raises UnknownModel, which is a KeyError."""
    entry = entries(store).get(model)
    if entry is None:
        raise UnknownModel(f"no model named {model!r}; `stylize models list` shows all")
    return entry


def base_of(model: str, store: Path | None = None) -> Base:
    """Return the architecture of a base model. Raises UnknownModel (a KeyError) when it is unknown or no base model."""
    entry = entry_of(model, store)
    if entry.kind != "base" or entry.base is None:
        raise UnknownModel(f"{model!r} is not a base model of an architecture served here")
    return entry.base


def folder_of(model: str, store: Path) -> Path:
    """Return the folder where a model's files lie once installed; it need not exist.

    It is below `store`, but for a shipped model, which lies in this package. Raises UnknownModel, which is a KeyError.
    """
    entry = entry_of(model, store)
    return store / "models" / entry.id if entry.folder is None else Path(__file__).parents[1] / entry.folder


def with_required(models: Iterable[str], store: Path | None = None) -> tuple[str, ...]:
    """Return `models` and all they require, each once, what is required first. Raises UnknownModel."""
    ordered: dict[str, None] = {}

    def visit(model: str) -> None:
        if model not in ordered:
            for required in entry_of(model, store).requires:
                visit(required)
            ordered[model] = None

    for model in models:
        visit(model)
    return tuple(ordered)


def needed_by(method: str, model: str, store: Path | None = None) -> tuple[str, ...]:
    """Return what must be installed to run `method` on the base model `model`, the base model included.

    Raises UnknownModel when `model` is no base model.
    """
    base = base_of(model, store)
    beside = (e.id for e in entries(store).values() if method in e.techniques and e.base in (None, base))
    return with_required([model, *sorted(beside)], store)
