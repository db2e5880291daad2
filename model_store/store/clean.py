"""Take things out of a store: one model, or all that nothing refers to."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model_store.catalogue import added_entries, entries, entry_of, folder_of, with_required
from model_store.errors import StillNeeded
from model_store.store.files import held
from model_store.store.lockfile import pin, read_lock


@dataclass(frozen=True)
class Freed:
    """Something that was, or would be, deleted and how many bytes it has."""

    path: Path
    size: int


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(found.lstat().st_size for found in path.rglob("*") if not found.is_dir())


def remove(model: str, store: Path, *, forget: bool = False, force: bool = False) -> Freed:
    """Delete a model's files; its pins stay, so that a later pull brings the same bytes, unless `forget`.

    An operator's own model goes with its entry and pins. Raises UnknownModel, StoreBusy, and StillNeeded when an
    installed model requires it and `force` is not set, or it is part of this program.
    """
    entry = entry_of(model, store)
    folder = folder_of(model, store)
    if entry.origin == "shipped":
        raise StillNeeded(f"{model} is part of this program and stays")
    if not force:
        _require_unneeded(model, store)
    with held(store, model):
        freed = Freed(folder, size_of(folder) if folder.exists() else 0)
        _delete(folder, store)
        _delete(store / "incoming" / model, store)
        if forget or entry.origin == "added":
            with held(store, "store", wait=True):
                pin(store, model, None)
        if entry.origin == "added":
            (store / "added" / f"{model}.json").unlink(missing_ok=True)
    return freed


def _require_unneeded(model: str, store: Path) -> None:
    for other in read_lock(store).models:
        known = other in entries(store) and folder_of(other, store).exists()
        if known and other != model and model in with_required([other], store):
            raise StillNeeded(f"{other} is installed and requires {model}; remove it first, or use --force")


def _delete(path: Path, store: Path) -> None:
    """Take the path away at once, then delete it at leisure: a broken-off deletion leaves no half model."""
    if not path.exists() and not path.is_symlink():
        return
    if path.is_dir() and not path.is_symlink():
        trash = store / "incoming" / f"{path.name}.{path.parent.name}.deleted"
        trash.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(trash, ignore_errors=True)
        path.rename(trash)
        shutil.rmtree(trash)
    else:
        path.unlink()


def gc(store: Path, *, dry_run: bool = False) -> tuple[Freed, ...]:
    """Delete parts of broken-off pulls, leftovers of conversions and folders of models nobody knows; return them.

    Raises StoreBusy at a model that is being changed; what went before stays deleted.
    """
    found = tuple(Freed(path, size_of(path)) for path in _garbage(store))
    if dry_run:
        return found
    for freed in found:
        with held(store, _owner(freed.path, store)):
            _delete(freed.path, store)
    return found


def _owner(path: Path, store: Path) -> str:
    """Return the lock under which a path may be changed: its model's."""
    top, *rest = path.relative_to(store).parts
    return rest[0] if rest and top in ("models", "incoming") else "store"


def _garbage(store: Path) -> Iterator[Path]:
    known = {**entries(), **added_entries(store)}
    for folder in sorted((store / "models").glob("*")):
        if folder.name not in known:
            yield folder
        else:
            yield from sorted(folder.rglob("*.partial"))
    yield from sorted((store / "incoming").glob("*"))
    for folder in (store, store / "added"):
        yield from sorted(folder.glob("*.partial"))
