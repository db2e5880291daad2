"""What a blob store does, whatever keeps the bytes."""

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from workers.contract.blobs.memory_file import Pages
from workers.contract.blobs.names import Sha256, input_name, input_sha256
from workers.contract.errors import BlobDamaged, BlobExists, Misconfigured

PROBES = "probes/"
BLOCK = 65_536
"""Bytes of a block of a stream."""


@dataclass(frozen=True)
class Stored:
    """One stored blob; `modified` (UTC) is when it was last put, also if it was there already."""

    name: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class BlobStream:
    """A blob read block by block: its size in bytes, and blocks of at most BLOCK bytes. Close it after use."""

    size: int
    blocks: Iterator[bytes]
    close: Callable[[], object]


class BlobStore(Protocol):
    """Named bytes.

    Every verb raises BlobStoreUnavailable when the store fails, BlobRefused when it refuses the one name, and BlobError
    for an impossible name.
    """

    def put(self, name: str, data: bytes | Pages, *, content_type: str, if_absent: bool = True) -> None:
        """Store bytes durably; nobody ever sees a part of them.

        Equal bytes already there are a success. Raises BlobExists for other bytes, unless `if_absent` is False or the
        name is an input's and says that what is there is damaged: then the bytes take its place.
        """

    def get(self, name: str) -> bytes:
        """Return the bytes. Raises BlobMissing."""

    def stream(self, name: str) -> BlobStream:
        """Return the bytes to be read block by block; the blocks raise as this does. Raises BlobMissing."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete blobs; those that are not there are no matter, those that are refused do not keep the others."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield the blobs whose names start with a prefix that ends in `/`."""

    def probe(self) -> None:
        """Write, read, refuse to overwrite, delete. Raises Misconfigured, BlobStoreUnavailable: one line why."""


def read_input(store: BlobStore, sha256: Sha256) -> bytes:
    """Return the bytes of an input picture. Raises BlobDamaged when they are others, and as `BlobStore.get`."""
    name = input_name(sha256)
    data = store.get(name)
    if not is_content(name, data):
        raise BlobDamaged(f"{name} is damaged: its content has another sha256")
    return data


def is_content(name: str, data: bytes | Pages) -> bool:
    """Return whether bytes are what an input's name says; False for every other name."""
    if (sha256 := input_sha256(name)) is None:
        return False
    return hashlib.sha256(data.read() if isinstance(data, Pages) else data).hexdigest() == sha256


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
