"""A file on its way in: in memory, never on the disk."""

from dataclasses import dataclass, field

from app.errors import Fault, TooLarge
from app.uploads.buffers import MemoryFile, Share
from app.uploads.limits import MAX_BYTES, SIGNATURE_BYTES

MASK_POINTER = "#/mask_image"


@dataclass
class Upload:
    """One uploaded file; `pointer` names its field in errors. Its bytes are the first `size` of `file`."""

    pointer: str
    memory: Share
    filename: str = ""
    media_type: str = ""
    size: int = 0
    head: bytes = b""
    file: MemoryFile = field(init=False)

    def __post_init__(self) -> None:
        self.file = self.memory.borrow()

    @property
    def is_mask(self) -> bool:
        """Whether it says where a picture is repainted."""
        return self.pointer == MASK_POINTER

    def write(self, data: memoryview) -> None:
        """Append bytes. Raises TooLarge or Unavailable."""
        if self.size + len(data) > MAX_BYTES:
            detail = f"the file is larger than {MAX_BYTES:,} bytes"
            raise TooLarge(f"{self.pointer[2:]}: {detail}", errors=[Fault(self.pointer, detail)])
        self.memory.take(len(data))
        if len(self.head) < SIGNATURE_BYTES:
            self.head += bytes(data[: SIGNATURE_BYTES - len(self.head)])
        end = self.size + len(data)
        self.file.mapped[self.size : end] = data
        self.size = end

    def close(self) -> None:
        """Give the memory back."""
        self.memory.restore(self.file)
        self.memory.give(self.size)
