"""Room on the disk of the blob store: uploads leave some to the others, the job database above all."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import InsufficientStorage


class FreeSpace:
    """Refuses to write where less than `floor` bytes would be left; without a folder there is room. Thread-safe."""

    def __init__(self, folder: Path | None, floor: int) -> None:
        self._folder = folder
        self._floor = floor
        self._promised = 0
        self._counting = threading.Lock()

    @contextmanager
    def reserved(self, size: int) -> Iterator[None]:
        """Keep room for bytes that are written meanwhile. Raises InsufficientStorage."""
        if self._folder is None or not size:
            yield
            return
        with self._counting:
            if free_bytes(self._folder) - self._promised - size < self._floor:
                raise InsufficientStorage(f"pictures are stored only while {self._floor:,} bytes of the disk stay free")
            self._promised += size
        try:
            yield
        finally:
            with self._counting:
                self._promised -= size


def free_bytes(folder: Path) -> int:
    """Return how many bytes can be written to the disk of a folder, which may be made later."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
