"""What the gateway holds of the pictures on their way: memory files under one budget, used again and again."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import mmap

from app.errors import Unavailable

REQUESTS_SHARE, SIZE_SHARE = 4, 2
KEPT_FILES = 16
KEPT_BYTES = 4_000_000
LENGTH = 64 * 2**20
"""More than any picture may have. A file takes memory only where it was written."""
BLOCK = 512
"""What `st_blocks` counts in."""


class MemoryFile:
    """A file in memory, mapped as long as it lives. It may hold old bytes: its user knows how many of them are new."""

    def __init__(self) -> None:
        self.file = os.memfd_create("picture", os.MFD_CLOEXEC)
        os.ftruncate(self.file, LENGTH)
        self.mapped = mmap(self.file, LENGTH)

    def shrink(self) -> None:
        """Free the memory beyond what is worth keeping."""
        if os.fstat(self.file).st_blocks * BLOCK > KEPT_BYTES:
            os.ftruncate(self.file, KEPT_BYTES)
            os.ftruncate(self.file, LENGTH)

    def close(self) -> None:
        """Free everything."""
        self.mapped.close()
        os.close(self.file)


class UploadMemory:
    """Counts requests and bytes; lends memory files. A file's pages stay, so that filling it again is a mere copy.

    One owner gets at most a quarter of the requests and half of the bytes, unless it is nobody in particular (None).
    """

    def __init__(self, *, requests: int, size: int) -> None:
        self._requests = requests
        self._size = size
        self._requests_each = max(1, requests // REQUESTS_SHARE)
        self._size_each = size // SIZE_SHARE
        self._requests_of: Counter[str] = Counter()
        self._size_of: Counter[str] = Counter()
        self._files: list[MemoryFile] = []

    @contextmanager
    def entered(self, owner: str | None) -> Iterator["Share"]:
        """Count an owner's request in and give what its uploads take their memory from. Raises Unavailable."""
        if self._requests <= 0:
            raise Unavailable("too many uploads at the same time", retry_after=1)
        if owner is not None and self._requests_of[owner] >= self._requests_each:
            raise Unavailable("too many uploads of yours at the same time", retry_after=1)
        self._requests -= 1
        self._count(self._requests_of, owner, 1)
        try:
            yield Share(self, owner)
        finally:
            self._requests += 1
            self._count(self._requests_of, owner, -1)

    def take(self, size: int, owner: str | None) -> None:
        """Take bytes from the budget. Raises Unavailable."""
        if size > self._size:
            raise Unavailable("too many bytes are being uploaded at the same time", retry_after=1)
        if owner is not None and self._size_of[owner] + size > self._size_each:
            raise Unavailable("too many bytes of yours are being uploaded at the same time", retry_after=1)
        self._size -= size
        self._count(self._size_of, owner, size)

    def give(self, size: int, owner: str | None) -> None:
        """Give bytes back to the budget."""
        self._size += size
        self._count(self._size_of, owner, -size)

    def _count(self, counter: Counter[str], owner: str | None, change: int) -> None:
        if owner is not None:
            counter[owner] += change
            if not counter[owner]:
                del counter[owner]

    def borrow(self) -> MemoryFile:
        """Return a memory file; close it instead of restoring it when somebody may still write to it."""
        return self._files.pop() if self._files else MemoryFile()

    def restore(self, file: MemoryFile) -> None:
        """Take a memory file back that nobody writes to any more."""
        if len(self._files) >= KEPT_FILES:
            file.close()
            return
        file.shrink()
        self._files.append(file)

    def close(self) -> None:
        """Free the files that are not lent."""
        while self._files:
            self._files.pop().close()


@dataclass(frozen=True)
class Share:
    """The memory as the uploads of one request see it."""

    memory: UploadMemory
    owner: str | None

    def take(self, size: int) -> None:
        """Take bytes. Raises Unavailable."""
        self.memory.take(size, self.owner)

    def give(self, size: int) -> None:
        """Give bytes back."""
        self.memory.give(size, self.owner)

    def borrow(self) -> MemoryFile:
        """Return a memory file."""
        return self.memory.borrow()

    def restore(self, file: MemoryFile) -> None:
        """Take a memory file back."""
        self.memory.restore(file)
