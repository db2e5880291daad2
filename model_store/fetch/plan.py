"""Which files a pull must fetch, which it must convert, and how many bytes that takes."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Event

from model_store.catalogue import folder_of
from model_store.catalogue.entry import Entry, WantedFile, safe_path
from model_store.errors import DigestMismatch, ModelNotFound
from model_store.fetch.source import RemoteFile, Source
from model_store.fetch.transfer import RetryPolicy, Transfer, digests_of, matches, partial_of, retry_source
from model_store.store.lockfile import Lock, PinnedFile, PinnedModel


@dataclass(frozen=True)
class FileDownload:
    """One file of a pull; `keymap` when the fetched file is pickled and becomes `final`."""

    job: Transfer
    target: str
    """Path below the model's folder."""
    final: Path
    keymap: str | None
    pinned: PinnedFile | None
    copy_of: Path | None = None
    """A file of the same digest that is in the store, or will be after this pull."""


@dataclass(frozen=True)
class PullPlan:
    """What a pull of one model does: `steps` to fetch, `kept` files that are there already."""

    entry: Entry
    revision: str
    steps: tuple[FileDownload, ...]
    kept: dict[str, PinnedFile]

    @property
    def bytes_needed(self) -> int:
        """Return the bytes that will be written beyond what earlier tries left and what the store has already."""
        return sum(_bytes_needed(step) for step in self.steps if step.copy_of is None)


def _bytes_needed(step: FileDownload) -> int:
    gathered = partial_of(step.job.target, step.job.remote.tag)
    arrived = gathered.stat().st_size if gathered.exists() else 0
    converted = step.job.remote.size if step.keymap else 0
    return max(0, step.job.remote.size - arrived) + converted


def plan(
    entry: Entry, store: Path, source: Source, lock: Lock, policy: RetryPolicy, stop: Event, stored: dict[str, Path]
) -> PullPlan:
    """Ask the source for what is missing of an entry.

    `stored` are files by digest that need not be fetched again; those that this plan fetches are added.

    Raises FetchError's kinds; DigestMismatch when the source already states another digest than the pinned one.
    """
    pinned = lock.models.get(entry.id)
    revision = pinned.revision if pinned is not None else entry.revision
    folder = folder_of(entry.id, store)
    steps: list[FileDownload] = []
    kept: dict[str, PinnedFile] = {}
    for wanted in retry_source(partial(_expanded, entry, source, revision, pinned), policy, stop):
        known = pinned.files.get(wanted.target) if pinned is not None else None
        final = folder / wanted.target
        if known is not None and final.is_file() and final.stat().st_size == known.size:
            kept[wanted.target] = known
            continue
        remote = retry_source(partial(source.stat, _repository(entry), revision, wanted.path), policy, stop)
        revision = remote.revision
        found = None if wanted.convert else _already_there(final, remote)
        if found is not None and known is None and wanted.sha256 in (None, found.sha256):
            kept[wanted.target] = found
            continue
        steps.append(_step(entry, store, wanted, remote, known, stored))
    return PullPlan(entry, revision, tuple(steps), kept)


def _repository(entry: Entry) -> str:
    if entry.repository is None:
        raise ModelNotFound(f"{entry.id} is {entry.origin} and cannot be pulled")
    return entry.repository


def _expanded(entry: Entry, source: Source, revision: str, pinned: PinnedModel | None) -> list[WantedFile]:
    """Resolve patterns: by the pins where there are any, else by the source's list of files."""
    if not any(file.is_pattern for file in entry.files):
        return list(entry.files)
    names = [p.source for p in pinned.files.values() if p.source] if pinned is not None else []
    names = names or [safe_path(name) for name in source.names(_repository(entry), revision) if "/." not in f"/{name}"]
    found: list[WantedFile] = []
    for file in entry.files:
        if not file.is_pattern:
            found.append(file)
            continue
        fitting = [name for name in names if _fits(name, file.path)]
        if not fitting or (file.save_as is not None and len(fitting) > 1):
            raise ModelNotFound(f"{entry.repository}: {file.path} fits {len(fitting)} files")
        found.extend(file.model_copy(update={"path": name, "about_mb": 0.0}) for name in fitting)
    return found


def _fits(name: str, pattern: str) -> bool:
    folder, wanted = PurePosixPath(name).parent, PurePosixPath(pattern)
    return folder == wanted.parent and fnmatchcase(PurePosixPath(name).name, wanted.name)


def _already_there(final: Path, remote: RemoteFile) -> PinnedFile | None:
    """Return the pin of a whole file that an earlier pull could not pin any more, when the source proves it."""
    if (remote.sha256 or remote.git_sha1) is None or not final.is_file() or final.stat().st_size != remote.size:
        return None
    digests = digests_of(final, remote.size)
    if not matches(remote, digests.done, digests.sha256, digests.git_sha1):
        return None
    return PinnedFile(size=remote.size, sha256=digests.sha256, source=remote.path)


def _step(
    entry: Entry,
    store: Path,
    wanted: WantedFile,
    remote: RemoteFile,
    known: PinnedFile | None,
    stored: dict[str, Path],
) -> FileDownload:
    expected = wanted.sha256
    if known is not None:
        expected = known.source_sha256 if wanted.convert else known.sha256
    if expected is not None and remote.sha256 not in (None, expected):
        raise DigestMismatch(
            f"{entry.id}/{wanted.path}: pinned as {expected}, the source now has {remote.sha256}; nothing was fetched"
        )
    final = folder_of(entry.id, store) / wanted.target
    arriving = store / "incoming" / entry.id / wanted.path if wanted.convert else final
    job = Transfer(f"{entry.id}/{wanted.path}", remote, arriving, expected)
    same = None if remote.sha256 is None or wanted.convert else stored.setdefault(remote.sha256, final)
    return FileDownload(job, wanted.target, final, wanted.convert, known, None if same == final else same)
