"""Bytes in a memory file, which a disk that can takes straight from there: no copy, and no page of its cache used."""

import errno
import fcntl
import os
from dataclasses import dataclass
from mmap import PAGESIZE, mmap


@dataclass(frozen=True)
class Pages:
    """The first `size` bytes of a memory file that nobody else writes to meanwhile; `mapped` shows at least those."""

    file: int
    mapped: mmap
    size: int

    def read(self) -> bytes:
        """Return the bytes."""
        return os.pread(self.file, self.size, 0)

    def write_to(self, target: int) -> None:
        """Write the bytes to a new file. Raises OSError."""
        try:
            fcntl.fcntl(target, fcntl.F_SETFL, os.O_DIRECT)
            self._write(target, -(-self.size // PAGESIZE) * PAGESIZE)
        except OSError as fault:
            if fault.errno != errno.EINVAL:
                raise
            fcntl.fcntl(target, fcntl.F_SETFL, 0)  # a file system without direct writing, or with larger blocks
            self._write(target, self.size)

    def _write(self, target: int, end: int) -> None:
        """Write up to `end`: direct writing wants whole pages. Zeros follow the bytes, and are cut off again."""
        if end > self.size:
            os.pwrite(self.file, bytes(end - self.size), self.size)
        done = 0
        with memoryview(self.mapped) as pages:
            while done < end:
                with pages[done:end] as rest:
                    done += os.pwrite(target, rest, done)
        if end > self.size:
            os.ftruncate(target, self.size)
