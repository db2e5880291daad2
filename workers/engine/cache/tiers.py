"""Where the style cache keeps tensors: memory of a device, or a folder. Each tier has a budget in bytes."""

import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

Tensors = dict[str, Tensor]


def size_of(value: Tensors) -> int:
    """Return the bytes of a value's tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in value.values())


class Tier(Protocol):
    """One place of the style cache. The cache holds its lock around every call."""

    name: str
    budget: int
    device: torch.device | None
    """Whose memory it is; None when it is none."""

    @property
    def used(self) -> int:
        """The bytes held."""
        ...

    def get(self, key: str) -> Tensors | None:
        """Return a value and note that it was used, or None."""
        ...

    def has(self, key: str) -> bool:
        """Return whether a value is there, without counting that as use."""
        ...

    def put(self, key: str, value: Tensors) -> list[tuple[str, Tensors]]:
        """Keep a value that fits the budget; return the least recently used ones that had to go for it."""
        ...

    def drop(self, discarded: Callable[[str], bool]) -> None:
        """Forget the values under discarded keys."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...


class MemoryTier:
    """Values in the memory of a device. On the CPU beside a GPU, `pinned` memory makes the way back fast."""

    def __init__(self, name: str, budget: int, device: torch.device | str = "cpu", *, pinned: bool = False) -> None:
        self.name = name
        self.budget = budget
        self.used = 0
        self.device: torch.device | None = torch.device(device)
        self._pinned = pinned
        self._values: OrderedDict[str, Tensors] = OrderedDict()

    def get(self, key: str) -> Tensors | None:
        """Return a value on the tier's device and note that it was used, or None."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key]

    def has(self, key: str) -> bool:
        """Return whether a value is there."""
        return key in self._values

    def put(self, key: str, value: Tensors) -> list[tuple[str, Tensors]]:
        """Keep a value; return those that had to go."""
        if key in self._values:
            self.used -= size_of(self._values.pop(key))
        gone: list[tuple[str, Tensors]] = []
        while self._values and self.used + size_of(value) > self.budget:
            old_key, old_value = self._values.popitem(last=False)
            self.used -= size_of(old_value)
            gone.append((old_key, old_value))
        self._values[key] = {name: self._place(tensor) for name, tensor in value.items()}
        self.used += size_of(value)
        return gone

    def _place(self, tensor: Tensor) -> Tensor:
        placed = tensor.detach().to(self.device)
        return placed.pin_memory() if self._pinned else placed

    def drop(self, discarded: Callable[[str], bool]) -> None:
        """Forget the values under discarded keys."""
        for key in [key for key in self._values if discarded(key)]:
            self.used -= size_of(self._values.pop(key))

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self.used = 0


class DiskTier:
    """Values as safetensors files in a folder, which survive the process. The times of the files order their use."""

    def __init__(self, name: str, budget: int, folder: Path) -> None:
        self.name = name
        self.budget = budget
        self.device: torch.device | None = None
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def used(self) -> int:
        """The bytes of the files."""
        return sum(size for size, _, _ in self._files())

    def _files(self) -> list[tuple[int, int, Path]]:
        found = []
        for path in self._folder.glob("*.safetensors"):
            try:
                facts = path.stat()
            except FileNotFoundError:  # another worker on the same folder made room
                continue
            found.append((facts.st_size, facts.st_mtime_ns, path))
        return found

    def get(self, key: str) -> Tensors | None:
        """Return a value in CPU memory, or None; a damaged file is removed."""
        path = self._folder / f"{key}.safetensors"
        try:
            value = load_file(path)
            os.utime(path)
        except FileNotFoundError:
            return None
        except SafetensorError:
            path.unlink(missing_ok=True)
            return None
        return value

    def has(self, key: str) -> bool:
        """Return whether there is a file of a value."""
        return (self._folder / f"{key}.safetensors").exists()

    def put(self, key: str, value: Tensors) -> list[tuple[str, Tensors]]:
        """Write a value by a rename; remove the files least recently used. They are gone for good."""
        path = self._folder / f"{key}.safetensors"
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            written = Path(scratch) / path.name
            save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in value.items()}, written)
            written.rename(path)
        files = sorted(self._files(), key=lambda file: file[1])
        used = sum(size for size, _, _ in files)
        for size, _, old in files:
            if used <= self.budget:
                break
            if old != path:
                old.unlink(missing_ok=True)
                used -= size
        return []

    def drop(self, discarded: Callable[[str], bool]) -> None:
        """Remove the files of discarded keys."""
        for _, _, path in self._files():
            if discarded(path.name.removesuffix(".safetensors")):
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove every file."""
        for _, _, path in self._files():
            path.unlink(missing_ok=True)
