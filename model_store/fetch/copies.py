"""Files that several models share, once on the disk: T5, CLIP and the VAE of FLUX.1 stand in each repository."""

import os
from contextlib import suppress
from pathlib import Path

from model_store.catalogue import entries, folder_of
from model_store.fetch.source import RemoteFile
from model_store.fetch.transfer import digests_of, matches
from model_store.store.files import sync_folder
from model_store.store.lockfile import Lock


def files_by_digest(store: Path, lock: Lock) -> dict[str, Path]:
    """Return the pinned files that are in a store, with the size of their pins, by SHA-256."""
    known = entries(store)
    return {
        pin.sha256: path
        for model, pinned in lock.models.items()
        if model in known
        for name, pin in pinned.files.items()
        if (path := folder_of(model, store) / name).is_file() and path.stat().st_size == pin.size
    }


def link_copy(existing: Path, final: Path, remote: RemoteFile) -> str | None:
    """Give a file that the store has a second name; return its SHA-256.

    None, and nothing was done, when it is not what the source states any more, or the disk knows no second names.
    """
    with suppress(OSError):
        digests = digests_of(existing, remote.size)
        if not matches(remote, digests.done, digests.sha256, digests.git_sha1):
            return None
        final.parent.mkdir(parents=True, exist_ok=True)
        final.unlink(missing_ok=True)
        os.link(existing, final)
        sync_folder(final.parent)
        return digests.sha256
    return None
