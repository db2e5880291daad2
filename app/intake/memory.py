"""What the gateway holds of the pictures on their way: memory files under one budget, used again and again."""

import os

from app.errors import Unavailable

KEPT_FILES = 16
KEPT_BYTES = 4_000_000


class Memory:
    """Counts requests and bytes; lends memory files. A file's pages stay, so that filling it again is a mere copy."""

    def __init__(self, *, requests: int, size: int) -> None:
        self._requests = requests
        self._size = size
        self._files: list[int] = []

    def enter(self) -> None:
        """Count a request in. Raises Unavailable."""
        if self._requests <= 0:
            raise Unavailable("too many uploads at the same time", retry_after=1)
        self._requests -= 1

    def leave(self) -> None:
        """Count a request out."""
        self._requests += 1

    def take(self, size: int) -> None:
        """Take bytes from the budget. Raises Unavailable."""
        if size > self._size:
            raise Unavailable("too many bytes are being uploaded at the same time", retry_after=1)
        self._size -= size

    def give(self, size: int) -> None:
        """Give bytes back to the budget."""
        self._size += size

    def borrow(self) -> int:
        """Return a memory file. It may hold old bytes: its user knows how many of them are new."""
        return self._files.pop() if self._files else os.memfd_create("picture", os.MFD_CLOEXEC)

    def restore(self, file: int) -> None:
        """Take a memory file back that nobody writes to any more."""
        if len(self._files) >= KEPT_FILES:
            os.close(file)
            return
        if os.fstat(file).st_size > KEPT_BYTES:
            os.ftruncate(file, KEPT_BYTES)
        self._files.append(file)

    def close(self) -> None:
        """Free the files that are not lent."""
        while self._files:
            os.close(self._files.pop())
