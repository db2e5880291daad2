"""Compare what lies in a store with its pins, byte by byte, and safetensors headers with their files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from model_store.catalogue import entry_of, folder_of
from model_store.catalogue.entry import SafePath, Sha256
from model_store.errors import BadCheckpoint
from model_store.load.header import read_header
from model_store.store.files import sha256_of
from model_store.store.lockfile import PinnedFile, read_lock
from model_store.store.presence import targets

_DIGESTS = TypeAdapter(dict[SafePath, Sha256])


@dataclass(frozen=True)
class FileFinding:
    """One file of a model and what is wrong with it; no fault when it is as pinned."""

    model: str
    path: str
    fault: str | None


def verify(model: str, store: Path) -> Iterator[FileFinding]:
    """Yield a finding for every file a model must have, and for files that do not belong to it.

    Raises UnknownModel, StoreDamaged.
    """
    entry = entry_of(model, store)
    folder = folder_of(model, store)
    if entry.origin == "shipped":
        yield from _by_digests(model, folder)
        return
    pinned = read_lock(store).models.get(model)
    expected = targets(entry, pinned)
    for path in expected:
        known = pinned.files.get(path) if pinned is not None else None
        yield FileFinding(model, path, _fault(folder / path, known))
    for stranger in sorted(folder.rglob("*")) if folder.is_dir() else ():
        path = str(stranger.relative_to(folder))
        if path not in expected and not stranger.is_dir() and not path.endswith(".partial"):
            yield FileFinding(model, path, "is not part of the model")


def _by_digests(model: str, folder: Path) -> Iterator[FileFinding]:
    """Compare a shipped model with the digests shipped beside it."""
    try:
        digests = _DIGESTS.validate_json((folder / "digests.json").read_bytes())
    except (OSError, ValidationError) as fault:
        yield FileFinding(model, "digests.json", f"cannot be read: {fault}")
        return
    for path, digest in digests.items():
        file = folder / path
        good = file.is_file() and sha256_of(file) == digest
        yield FileFinding(model, path, None if good else "is missing or has other content than shipped")


def _fault(file: Path, known: PinnedFile | None) -> str | None:
    if file.is_symlink():
        return "is a link"
    if not file.is_file():
        return "is missing"
    if known is None:
        return "was never pinned"
    size = file.stat().st_size
    if size != known.size:
        return f"has {size} bytes, pinned are {known.size}"
    if sha256_of(file) != known.sha256:
        return "has other content than pinned"
    if file.suffix == ".safetensors":
        try:
            read_header(file)
        except BadCheckpoint as fault:
            return str(fault)
    return None
