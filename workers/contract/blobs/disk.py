"""Blobs as files: written aside, flushed to the disk, then linked into place, so that a blob is whole or absent."""

import errno
import logging
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from workers.contract.blobs.base import BLOCK as STREAM_BLOCK
from workers.contract.blobs.base import BlobStream, Stored, exercise, is_content
from workers.contract.blobs.memory_file import Pages
from workers.contract.blobs.names import checked, input_sha256
from workers.contract.errors import BlobExists, BlobMissing, BlobRefused, BlobStoreUnavailable

log = logging.getLogger(__name__)

PARTS = ".parts"
"""Unfinished files; no blob name starts with a dot."""
PART_SECONDS = 3600
TRIES = 50
"""Of a put whose folder others remove as often as it makes it."""
BLOCK = 1 << 20
AWAY = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ETIMEDOUT,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENODEV,
    errno.ENXIO,
}
"""Faults of the whole disk; any other is of the one file, unless nothing can be written at all."""
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class DiskBlobs:
    """A blob store in a local folder. Several processes may use it at once."""

    def __init__(self, root: Path) -> None:
        """Use the folder; it is made at the first put."""
        self._root = root

    def put(self, name: str, data: bytes | Pages, *, content_type: str, if_absent: bool = True) -> None:
        """See BlobStore. The content type is not kept: names say it."""
        place = self._place(name)
        with _faults(name):
            if if_absent and self._already(name, place, data):
                return
            with _faults(name, of_store=True):
                part = self._write_part(data)
            try:
                self._move(part, place, if_absent=if_absent)
            except FileExistsError:
                if not self._already(name, place, data):
                    self._move(part, place, if_absent=False)
            finally:
                part.unlink(missing_ok=True)

    def get(self, name: str) -> bytes:
        """See BlobStore."""
        with _faults(name):
            return self._place(name).read_bytes()

    def stream(self, name: str) -> BlobStream:
        """See BlobStore."""
        with _faults(name):
            file = self._place(name).open("rb")
            return BlobStream(os.fstat(file.fileno()).st_size, _blocks(name, file), file.close)

    def delete(self, names: Iterable[str]) -> None:
        """See BlobStore. Folders left empty are removed, but for the few of inputs, which fill again."""
        refused = []
        for name in names:
            place = self._place(name)
            try:
                with _faults(name):
                    place.unlink(missing_ok=True)
            except BlobRefused as fault:
                refused.append(fault)
            if not input_sha256(name):
                self._prune(place.parent)
        if refused:
            raise refused[0]

    def list(self, prefix: str) -> Iterator[Stored]:
        """See BlobStore."""
        top = self._place(prefix.rstrip("/"))
        with _faults(prefix):
            for folder, _, files in os.walk(top):
                for file in files:
                    if stored := self._stored(Path(folder) / file):
                        yield stored

    def probe(self) -> None:
        """See BlobStore."""
        self._clear_parts()
        try:
            exercise(self, str(self._root))
        except BlobRefused as fault:
            raise BlobStoreUnavailable(str(fault)) from fault

    def _place(self, name: str) -> Path:
        return self._root / checked(name)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder so that it outlasts a loss of power: each new one is flushed into the one above."""
        if folder.is_dir():
            return
        if folder != self._root:
            self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True, parents=folder == self._root)
        _flush(folder.parent)

    def _move(self, part: Path, place: Path, *, if_absent: bool) -> None:
        """Give the part its name. The folder may be missing, and a delete may remove it again just before."""
        for attempt in range(TRIES):
            try:
                if attempt:
                    self._make_folder(place.parent)
                if if_absent:
                    os.link(part, place)
                else:
                    part.replace(place)
                _flush(place.parent)
            except FileNotFoundError:
                if attempt == TRIES - 1:
                    raise
            else:
                return

    def _write_part(self, data: bytes | Pages) -> Path:
        part = self._root / PARTS / secrets.token_hex(16)
        try:
            file = self._create(part)
            try:
                _write(file, data)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return part

    def _create(self, part: Path) -> int:
        try:
            return os.open(part, NEW)
        except FileNotFoundError:
            self._make_folder(part.parent)
            return os.open(part, NEW)

    def _clear_parts(self) -> None:
        """Remove what processes left unfinished when they were killed."""
        with _faults(PARTS):
            for part in (self._root / PARTS).glob("*"):
                with suppress(FileNotFoundError):
                    if time.time() - part.stat().st_mtime > PART_SECONDS:
                        part.unlink()

    def _already(self, name: str, place: Path, data: bytes | Pages) -> bool:
        """Return whether the very bytes are there, as if put now. Raises BlobExists for others.

        What is there of an input must be what its name says: if not it is damaged, and as good as not there.
        """
        try:
            if same := _holds(place, data):
                os.utime(place)
        except FileNotFoundError:
            return False
        except OSError:
            if not is_content(name, data):
                raise
            same = False
        if not same:
            if not is_content(name, data):
                raise BlobExists(f"{name} is taken")
            log.warning("%s is damaged and is stored again", name)
        return same

    def _stored(self, place: Path) -> Stored | None:
        try:
            status = place.lstat()
        except FileNotFoundError:
            return None
        name = place.relative_to(self._root).as_posix()
        return Stored(name, status.st_size, datetime.fromtimestamp(status.st_mtime, tz=UTC))

    def _prune(self, folder: Path) -> None:
        while folder != self._root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


@contextmanager
def _faults(name: str, *, of_store: bool = False) -> Iterator[None]:
    """Turn the disk's faults into ours: raises BlobMissing, BlobRefused, BlobStoreUnavailable."""
    try:
        yield
    except FileNotFoundError as fault:
        raise BlobMissing(f"{name} is not stored") from fault
    except OSError as fault:
        kind = BlobStoreUnavailable if of_store or fault.errno in AWAY else BlobRefused
        raise kind(f"the disk fails for {fault.filename or name}: {fault.strerror}") from fault


def _blocks(name: str, file: BinaryIO) -> Iterator[bytes]:
    with _faults(name):
        while block := file.read(STREAM_BLOCK):
            yield block


def _holds(place: Path, data: bytes | Pages) -> bool:
    """Return whether a file holds these bytes."""
    content, size = (data.mapped, data.size) if isinstance(data, Pages) else (data, len(data))
    with place.open("rb") as file:
        if os.fstat(file.fileno()).st_size != size:
            return False
        return all(file.read(BLOCK) == content[at : min(at + BLOCK, size)] for at in range(0, size, BLOCK))


def _write(file: int, data: bytes | Pages) -> None:
    if isinstance(data, Pages):
        return data.write_to(file)
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _flush(folder: Path) -> None:
    """Have the folder's entries on the disk when this returns."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
