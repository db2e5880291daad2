"""The header of a safetensors file, read and checked in full before any of its tensors takes memory."""

import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, NonNegativeInt, TypeAdapter, ValidationError

from model_store.errors import MalformedFile

HEADER_LIMIT = 16 << 20
"""Bytes a header may have; the largest published one has under a tenth of it."""

MOST_DIMENSIONS, LONGEST_SIDE = 8, 2**40

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


class TensorHeader(BaseModel):
    """Type, shape and place of one tensor; offsets count from the end of the header, in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dtype: str
    shape: list[NonNegativeInt]
    data_offsets: tuple[NonNegativeInt, NonNegativeInt]

    @property
    def is_floating(self) -> bool:
        """Return whether its numbers are floating ones."""
        return self.dtype.startswith(("F", "BF"))


@dataclass(frozen=True)
class Header:
    """What a safetensors file holds."""

    file: Path
    tensors: Mapping[str, TensorHeader]
    metadata: Mapping[str, str]
    data_bytes: int


_T = TypeVar("_T")
_ENTRIES = TypeAdapter(dict[str, TensorHeader])
_METADATA = TypeAdapter(dict[str, str])


def read_header(file: Path) -> Header:
    """Return the checked header of a safetensors file.

    Raises MalformedFile naming the file, and the key where one is at fault: no regular file (links are not
    followed), a header that is too long, no JSON, has twice the same key, an unknown type, shape and length that
    disagree, holes or overlaps, or data that end before or after the last tensor.
    """
    raw, size = _read(file)
    entries = _parse(file, raw)
    metadata = _checked(file, _METADATA, entries.pop("__metadata__", {}))
    tensors = _checked(file, _ENTRIES, entries)
    for name, tensor in tensors.items():
        _check_length(file, name, tensor)
    _check_layout(file, tensors, size - 8 - len(raw))
    return Header(file, MappingProxyType(tensors), MappingProxyType(metadata), size - 8 - len(raw))


def _read(file: Path) -> tuple[bytes, int]:
    """Return the header's bytes and the size of the whole file."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as fault:
        raise MalformedFile(f"{file}: cannot be opened as a plain file ({fault.strerror})") from fault
    with open(descriptor, "rb") as opened:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise MalformedFile(f"{file}: is no plain file")
        length = int.from_bytes(opened.read(8), "little")
        if state.st_size < 10 or length < 2 or length > state.st_size - 8:
            raise MalformedFile(f"{file}: not a safetensors file, or truncated ({state.st_size} bytes)")
        if length > HEADER_LIMIT:
            raise MalformedFile(f"{file}: the header claims {length} bytes, {HEADER_LIMIT} are allowed")
        return opened.read(length), state.st_size


def _parse(file: Path, raw: bytes) -> dict[str, object]:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise MalformedFile(f"{file}: a key stands twice in the header")
        return found

    try:
        entries = json.loads(raw, object_pairs_hook=unique)
    except (ValueError, RecursionError) as fault:
        raise MalformedFile(f"{file}: the header is not JSON ({fault})") from fault
    if not isinstance(entries, dict):
        raise MalformedFile(f"{file}: the header is no JSON object")
    return entries


def _checked(file: Path, shape: TypeAdapter[_T], value: object) -> _T:
    try:
        return shape.validate_json(json.dumps(value))
    except ValidationError as fault:
        first = fault.errors()[0]
        raise MalformedFile(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from fault


def _check_length(file: Path, name: str, tensor: TensorHeader) -> None:
    bits = _BITS.get(tensor.dtype)
    if bits is None:
        raise MalformedFile(f"{file}: {name}: unknown type {tensor.dtype!r}")
    if len(tensor.shape) > MOST_DIMENSIONS or any(side > LONGEST_SIDE for side in tensor.shape):
        raise MalformedFile(f"{file}: {name}: {len(tensor.shape)} dimensions, or one of them, are too large")
    start, end = tensor.data_offsets
    if (end - start) * 8 != math.prod(tensor.shape) * bits:
        raise MalformedFile(f"{file}: {name}: {tensor.dtype} {tensor.shape} does not take {end - start} bytes")


def _check_layout(file: Path, tensors: Mapping[str, TensorHeader], data_bytes: int) -> None:
    ordered = sorted(tensors.items(), key=lambda item: item[1].data_offsets)
    ends = [(None, 0), *((name, tensor.data_offsets[1]) for name, tensor in ordered)]
    starts = [*((name, tensor.data_offsets[0]) for name, tensor in ordered), (None, data_bytes)]
    for (before, end), (after, start) in zip(ends, starts, strict=True):
        if start != end:
            at = after or before or "data"
            raise MalformedFile(
                f"{file}: {at}: data at byte {start}, expected at {end}; truncated, or a hole or overlap"
            )
