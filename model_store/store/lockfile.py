"""The lock file of a store: digest and size of every file, pinned when it was first fetched, enforced after."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from model_store.catalogue.entry import DeclaredEntry, ModelId, SafePath, Sha256
from model_store.errors import StoreDamaged
from model_store.store.files import replace_with


class PinnedFile(DeclaredEntry):
    """One installed file and, where it was converted, the file it was made from."""

    size: int = Field(ge=0)
    sha256: Sha256
    source: SafePath | None = None
    """Path in the repository; none for files of the operator."""
    source_size: int | None = None
    source_sha256: Sha256 | None = None
    """Size and digest of the pickled original, when this file was converted from it."""


class PinnedModel(DeclaredEntry):
    """All files of one model, by path below its folder."""

    revision: str
    files: dict[SafePath, PinnedFile]


class Lock(DeclaredEntry):
    """Content of `lock.json`."""

    version: int = Field(1, ge=1, le=1)
    models: dict[ModelId, PinnedModel] = Field(default_factory=dict)


def lock_path(store: Path) -> Path:
    """Return where a store keeps its lock file."""
    return store / "lock.json"


def read_lock(store: Path) -> Lock:
    """Return the lock of a store, empty when there is none yet. Raises StoreDamaged when it cannot be read."""
    path = lock_path(store)
    try:
        return Lock.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Lock()
    except (ValidationError, OSError) as fault:
        raise StoreDamaged(f"{path}: {fault}; restore it or remove it to pin anew") from fault


def pin(store: Path, model: str, pinned: PinnedModel | None) -> None:
    """Record what a model's files are, or forget them (None). The caller holds the store's lock."""
    models: Mapping[str, PinnedModel] = read_lock(store).models
    kept = {name: known for name, known in models.items() if name != model}
    if pinned is not None:
        kept[model] = pinned
    lock = Lock(models=dict(sorted(kept.items())))
    replace_with(lock_path(store), (lock.model_dump_json(indent=1, exclude_none=True) + os.linesep).encode())
