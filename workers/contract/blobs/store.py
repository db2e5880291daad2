"""What a blob store does, whatever keeps the bytes."""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from workers.contract.blobs.pages import Pages
from workers.contract.errors import BlobExists, Misconfigured

PROBES = "probes/"


@dataclass(frozen=True)
class Stored:
    """One stored blob; `modified` (UTC) is when it was last put, also if it was there already."""

    name: str
    size: int
    modified: datetime


class BlobStore(Protocol):
    """Named bytes. Every verb raises BlobStoreUnavailable when the store fails, BlobError for an impossible name."""

    def put(self, name: str, data: bytes | Pages, *, content_type: str, if_absent: bool = True) -> None:
        """Store bytes durably; nobody ever sees a part of them.

        Equal bytes already there are a success; the size tells for an input, whose name is its content's sha256.
        Raises BlobExists for other bytes, unless `if_absent` is False.
        """

    def get(self, name: str) -> bytes:
        """Return the bytes. Raises BlobMissing."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete blobs; those that are not there are no matter."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield the blobs whose names start with a prefix that ends in `/`."""

    def probe(self) -> None:
        """Write, read, refuse to overwrite, delete. Raises Misconfigured, BlobStoreUnavailable: one line why."""


def exercise(store: BlobStore, where: str) -> None:
    """Do what `BlobStore.probe` promises through the store's own verbs; `where` is for the error's text."""
    name, data = f"{PROBES}{secrets.token_hex(8)}", b"written by a probe"
    store.put(name, data, content_type="text/plain")
    try:
        if store.get(name) != data:
            raise Misconfigured(f"{where} does not give back what was written")
        refuse_overwrite(store, name, where)
    finally:
        store.delete([name])


def refuse_overwrite(store: BlobStore, name: str, where: str) -> None:
    """Raise Misconfigured unless other bytes under a name that is taken are refused."""
    try:
        store.put(name, b"other bytes", content_type="text/plain")
    except BlobExists:
        return
    raise Misconfigured(f"{where} overwrites a blob that should stay")
