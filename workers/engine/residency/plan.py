"""How many bytes a base model's weights take, and where, by its configurations alone."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch

from model_store.catalogue.entry import Base
from model_store.load.base import PARTS
from model_store.load.component import empty_component
from model_store.load.shards import headers_of, weight_files
from workers.engine.memory import available
from workers.engine.residency.placement import TRANSFORMER, PartPlacement
from workers.engine.residency.weight_storage import stored_bytes

GB = 1e9
DENOISERS = frozenset({TRANSFORMER, "unet"})


@dataclass(frozen=True)
class PlannedPart:
    """A part of a base model: the bytes of its weights and the device that they will be on."""

    name: str
    size: int
    device: torch.device


def part_devices(base: Base, placement: PartPlacement) -> dict[str, torch.device]:
    """Return where each part of an architecture belongs."""
    of_transformer = TRANSFORMER in PARTS[base]
    return {part: placement.device_of(part, of_transformer=of_transformer) for part in PARTS[base]}


def part_keys(folder: Path, base: Base, placement: PartPlacement) -> dict[str, str]:
    """Return a key for each part: the same files in the same type on the same device are one part.

    The denoiser has none: techniques change it.
    """
    shareable = {part: where for part, where in part_devices(base, placement).items() if part not in DENOISERS}
    return {
        part: f"{part} {_files_of(folder / part)} {where} {placement.dtype_of(part)}"
        for part, where in shareable.items()
    }


def _files_of(folder: Path) -> str:
    """Return a digest of what is in a part's folder: configurations by their content, weights by their place on disk.

    What several models share is one file there, with several names: pulling links what is there already.
    """
    seen = hashlib.sha256()
    for path in sorted(path for path in folder.glob("*") if path.is_file()):
        facts = path.stat()
        place = f"{facts.st_dev}:{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}".encode()
        seen.update(path.name.encode() + (place if path.suffix == ".safetensors" else path.read_bytes()))
    return seen.hexdigest()


def plan(folder: Path, base: Base, placement: PartPlacement, given: Collection[str] = ()) -> tuple[PlannedPart, ...]:
    """Return what a base model's folder will take of which memory, but for the parts that are `given`.

    Raises NotInstalled or MalformedFile for a configuration that is missing or not understood.
    """
    places = part_devices(base, placement)
    found = []
    for name, kind in PARTS[base].items():
        if name not in given:
            storage = placement.weight_storage if name == TRANSFORMER else "full"
            size = stored_bytes(empty_component(folder / name, kind), storage, placement.dtype_of(name))
            found.append(PlannedPart(name, size, places[name]))
    return tuple(found)


def weight_bytes(path: Path, dtype: torch.dtype) -> int:
    """Return the bytes that the weights in a safetensors file, or a component's folder, take in a type."""
    headers = headers_of(weight_files(path) if path.is_dir() else (path,))
    numbers = (torch.Size(header.tensors[name].shape).numel() for name, header in headers.items())
    return sum(numbers) * dtype.itemsize


def lacking(parts: Collection[PlannedPart], name: str, spare: float) -> str:
    """Return in a sentence which memory is too small for some parts now; empty where they fit, a share left spare."""
    for device in dict.fromkeys(part.device for part in parts):
        there = [part for part in parts if part.device == device]
        needed, free = sum(part.size for part in there), available(device)
        if needed > free * (1 - spare):
            sizes = ", ".join(f"{part.name} {part.size / GB:.1f}" for part in there)
            return f"{name} needs {needed / GB:.1f} GB on {device} ({sizes}), {free / GB:.1f} GB are free"
    return ""
