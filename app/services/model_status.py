"""How models stand: what of them lies in the store, and whether a worker has them ready. Nothing is hashed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.schemas.catalogue import ModelState
from model_store.catalogue import entries, entry_of
from model_store.catalogue.entry import Entry
from model_store.errors import ModelStoreError
from model_store.store.lockfile import Lock, read_lock
from model_store.store.presence import ModelPresence, presence
from workers.contract.jobs.results import WorkerStatus


@dataclass(frozen=True)
class ModelStatus:
    """A model, where it stands, and the command that brings what is missing of it; empty when there is none."""

    entry: Entry
    state: ModelState
    command: str
    size: int | None
    """Bytes of its files: exact once they are pinned, before that the catalogue's rough number."""
    reason: str = ""
    """Why no worker can serve it, where it is broken."""

    @property
    def words(self) -> str:
        """Return the state in words for those who run the service."""
        if self.reason:
            return f"{self.state}: {self.reason}"
        return f"{self.state}; run: {self.command}" if self.command else self.state


def served_models(models: Collection[str], store: Path, workers: Sequence[WorkerStatus]) -> list[ModelStatus]:
    """Return the status of base models, in their order. What workers say goes before what lies in this host's store.

    Raises ModelStoreError when the store cannot be read.
    """
    lock = read_lock(store)
    return [_status_of(entry_of(model, store), store, lock, workers) for model in models]


def installed_models(store: Path) -> list[ModelStatus]:
    """Return the status of everything but base models of which something is in the store. Raises ModelStoreError."""
    lock = read_lock(store)
    beside = (entry for entry in entries(store).values() if entry.kind != "base")
    statuses = (_status_of(entry, store, lock, ()) for entry in beside)
    return [one for one in statuses if one.state != "missing"]


def status_words(models: Collection[str], store: Path, workers: Sequence[WorkerStatus]) -> Mapping[str, str]:
    """Return in a few words how each base model stands; why this cannot be told when the store cannot be read."""
    try:
        return {one.entry.id: one.words for one in served_models(models, store, workers)}
    except ModelStoreError as fault:
        return dict.fromkeys(models, str(fault))


def _status_of(entry: Entry, store: Path, lock: Lock, workers: Sequence[WorkerStatus]) -> ModelStatus:
    found = presence(entry.id, store, lock)
    state = _at_work(entry.id, workers) or found.state
    command = found.command if state in ("partial", "missing") else ""
    reason = _reason(entry.id, workers) if state == "broken" else ""
    return ModelStatus(entry, state, command, _size(entry, found, lock), reason)


def _at_work(model: str, workers: Sequence[WorkerStatus]) -> ModelState | None:
    """Return what the workers make of a model, None when none is going to serve it."""
    if any(model in worker.models for worker in workers):
        return "warm"
    if _reason(model, workers) and not any(model in worker.queues for worker in workers):
        return "broken"
    if any(model in worker.queues and worker.state != "stopping" for worker in workers):
        return "loading"
    return None


def _reason(model: str, workers: Sequence[WorkerStatus]) -> str:
    """Return why a worker that tried cannot serve a model."""
    tried = (worker.methods[model] for worker in workers if model in worker.methods and model not in worker.models)
    return next((reason for methods in tried for reason in methods.values() if reason), "")


def _size(entry: Entry, found: ModelPresence, lock: Lock) -> int | None:
    pinned = lock.models.get(entry.id)
    if pinned is not None and found.state == "installed":
        return sum(file.size for file in pinned.files.values())
    return round(entry.about_mb * 1e6) or None
