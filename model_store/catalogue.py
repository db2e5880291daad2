"""The catalogue: every model this service knows, as data in `catalogue_data/*.toml`. Never imports torch."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from model_store.entry import Base, Entry


@cache
def entries() -> Mapping[str, Entry]:
    """Return the built-in entries by id, read once."""
    found: dict[str, Entry] = {}
    for file in sorted(resources.files("model_store.catalogue_data").iterdir(), key=lambda item: item.name):
        if not file.name.endswith(".toml"):
            continue
        for raw in tomllib.loads(file.read_text(encoding="utf-8"))["entry"]:
            entry = Entry.model_validate(raw)
            if entry.id in found:
                raise ValueError(f"{file.name}: the id {entry.id} is taken")
            found[entry.id] = entry
    return MappingProxyType(found)


def entry_of(model: str) -> Entry:
    """Return the entry of an id. Raises KeyError when the catalogue has none."""
    return entries()[model]


def base_of(model: str) -> Base:
    """Return the architecture of a base model. Raises KeyError when it is unknown or no base model."""
    entry = entries()[model]
    if entry.kind != "base" or entry.base is None:
        raise KeyError(model)
    return entry.base


def folder_of(model: str, store: Path) -> Path:
    """Return the folder below `store` where a model's files lie once installed; it need not exist.

    Raises KeyError when the catalogue has no such id.
    """
    return store / "models" / entries()[model].id
