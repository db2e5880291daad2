"""What of a model lies in a store: read by the gateway for `GET /models` and `/readyz`, without hashing anything."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model_store.catalogue import entry_of, folder_of, with_required
from model_store.catalogue.entry import Entry, Origin
from model_store.errors import NotInstalled
from model_store.store.lockfile import Lock, PinnedModel, read_lock

DEFAULT_STORE = Path("data/models")
State = Literal["installed", "partial", "missing"]


@dataclass(frozen=True)
class ModelPresence:
    """Whether a model may be used. `missing` names files that are absent or of another size, below its folder."""

    model: str
    state: State
    missing: tuple[str, ...]
    origin: Origin = "hub"

    @property
    def command(self) -> str:
        """Return the command that brings the model here; empty for what comes with this package."""
        return {
            "hub": f"stylize models pull {self.model}",
            "added": f"stylize models remove {self.model} && stylize models add SOURCE {self.model}",
        }.get(self.origin, "")


def command_for(found: ModelPresence, store: Path) -> str:
    """Return the command with the store that it is for, so that it does its work in whatever folder it is called."""
    beside = "" if store == DEFAULT_STORE else f" --store {shlex.quote(str(store.absolute()))}"
    return " && ".join(f"{command}{beside}" for command in filter(None, found.command.split(" && ")))


def presence(model: str, store: Path, lock: Lock | None = None) -> ModelPresence:
    """Return what of one model is there, by names and sizes. Raises UnknownModel.

    `lock` saves reading the lock file again when many models are asked for. A shipped model is installed
    when its folder has files: it carries no pins.
    """
    entry = entry_of(model, store)
    folder = folder_of(model, store)
    if entry.origin == "shipped":
        there = (folder / "model_index.json").is_file()
        absent = () if there else ("model_index.json",)
        return ModelPresence(model, "installed" if there else "missing", absent, entry.origin)
    pinned = (lock or read_lock(store)).models.get(model)
    expected = targets(entry, pinned)
    missing = tuple(name for name in expected if not _there(folder / name, pinned, name))
    if not missing and expected:
        return ModelPresence(model, "installed", (), entry.origin)
    return ModelPresence(model, "missing" if len(missing) == len(expected) else "partial", missing, entry.origin)


def targets(entry: Entry, pinned: PinnedModel | None) -> tuple[str, ...]:
    """Return the paths an entry has below its folder: those it names, and those pinned for its patterns."""
    named = [file.target for file in entry.files if not file.is_pattern or file.save_as is not None]
    return tuple(dict.fromkeys([*named, *(pinned.files if pinned is not None else ())]))


def _there(path: Path, pinned: PinnedModel | None, name: str) -> bool:
    known = pinned.files.get(name) if pinned is not None else None
    return known is not None and not path.is_symlink() and path.is_file() and path.stat().st_size == known.size


def require_installed(model: str, store: Path) -> Path:
    """Return the folder of an installed model.

    Raises UnknownModel, or NotInstalled with the command that fetches what is missing of it and what it requires.
    """
    lock = read_lock(store)
    for needed in with_required([model], store):
        found = presence(needed, store, lock)
        if found.state != "installed":
            some = ", ".join(found.missing[:3]) + (" ..." if len(found.missing) > 3 else "")
            command = command_for(found, store)
            remedy = f"run: {command}" if command else f"this copy of Stylize came without {needed}"
            raise NotInstalled(f"{needed} is {found.state} in {store} ({some}); {remedy}")
    return folder_of(model, store)
