"""Files on their way in: anonymous memory, never the disk, under one budget for the whole gateway."""

import os
from dataclasses import dataclass, field

from app.errors import Fault, TooLarge, Unavailable
from app.intake.rules import MAX_BYTES, SIGNATURE_BYTES


class Budget:
    """How many requests with a body, and how many bytes of files, the gateway holds at the same time."""

    def __init__(self, *, requests: int, size: int) -> None:
        self._requests = requests
        self._size = size

    def enter(self) -> None:
        """Count a request in. Raises Unavailable."""
        if self._requests <= 0:
            raise Unavailable("too many uploads at the same time", retry_after=1)
        self._requests -= 1

    def leave(self) -> None:
        """Count a request out."""
        self._requests += 1

    def take(self, size: int) -> None:
        """Take memory. Raises Unavailable."""
        if size > self._size:
            raise Unavailable("too many bytes are being uploaded at the same time", retry_after=1)
        self._size -= size

    def give(self, size: int) -> None:
        """Give memory back."""
        self._size += size


@dataclass
class Upload:
    """One uploaded file in a memory file of its own; `pointer` names its field in errors."""

    pointer: str
    budget: Budget
    filename: str = ""
    media_type: str = ""
    size: int = 0
    head: bytes = b""
    descriptor: int = field(default_factory=lambda: os.memfd_create("upload", os.MFD_CLOEXEC))

    def write(self, data: memoryview) -> None:
        """Append bytes. Raises TooLarge or Unavailable."""
        if self.size + len(data) > MAX_BYTES:
            detail = f"the file is larger than {MAX_BYTES:,} bytes"
            raise TooLarge(f"{self.pointer[2:]}: {detail}", errors=[Fault(self.pointer, detail)])
        self.budget.take(len(data))
        self.size += len(data)
        if len(self.head) < SIGNATURE_BYTES:
            self.head += bytes(data[: SIGNATURE_BYTES - len(self.head)])
        while data:
            data = data[os.write(self.descriptor, data) :]

    def close(self) -> None:
        """Free the memory."""
        os.close(self.descriptor)
        self.budget.give(self.size)
