"""Blobs as files: written aside, flushed to the disk, then linked into place, so that a blob is whole or absent."""

import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from workers.contract.blobs.names import checked, input_sha256
from workers.contract.blobs.pages import Pages
from workers.contract.blobs.store import Stored, exercise
from workers.contract.errors import BlobExists, BlobMissing, BlobStoreUnavailable

PARTS = ".parts"
"""Unfinished files; no blob name starts with a dot."""
PART_SECONDS = 3600
TRIES = 6
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
            part = self._write_part(data)
            try:
                self._move(part, place, if_absent=if_absent)
            except FileExistsError:
                self._already(name, place, data)
            finally:
                part.unlink(missing_ok=True)

    def get(self, name: str) -> bytes:
        """See BlobStore."""
        with _faults(name):
            return self._place(name).read_bytes()

    def delete(self, names: Iterable[str]) -> None:
        """See BlobStore. Folders left empty are removed, but for the few of inputs, which fill again."""
        for name in names:
            place = self._place(name)
            with _faults(name):
                place.unlink(missing_ok=True)
            if not input_sha256(name):
                self._prune(place.parent)

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
        exercise(self, str(self._root))

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
        """Return whether the very bytes are there, as if put now. Raises BlobExists for others."""
        try:
            if not _same(name, place, data):
                raise BlobExists(f"{name} is taken")
            os.utime(place)
        except FileNotFoundError:
            return False
        return True

    def _stored(self, place: Path) -> Stored | None:
        try:
            status = place.stat()
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
def _faults(name: str) -> Iterator[None]:
    """Turn the disk's faults into ours: raises BlobMissing, BlobStoreUnavailable."""
    try:
        yield
    except FileNotFoundError as fault:
        raise BlobMissing(f"{name} is not stored") from fault
    except OSError as fault:
        raise BlobStoreUnavailable(f"the disk fails for {fault.filename or name}: {fault.strerror}") from fault


def _same(name: str, place: Path, data: bytes | Pages) -> bool:
    """Return whether a file holds these bytes; of one that is named by its content, the size tells."""
    if input_sha256(name):
        return place.stat().st_size == (data.size if isinstance(data, Pages) else len(data))
    return place.read_bytes() == (data.read() if isinstance(data, Pages) else data)


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
