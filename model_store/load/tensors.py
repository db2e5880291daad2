"""Tensors out of safetensors files: names, shapes and types are checked first, then they go straight where asked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from model_store.errors import MalformedFile, WrongKeys
from model_store.load.header import Header
from model_store.load.shards import headers_of

Shapes = Mapping[str, Sequence[int]]


def load_tensors(
    files: Path | Iterable[Path],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    expected: Shapes | None = None,
    rename: Callable[[str], str | None] = lambda name: name,
) -> dict[str, torch.Tensor]:
    """Return the tensors of safetensors files, by (renamed) name.

    `rename` gives a tensor's name in the model, or None to leave it out. With `expected`, the names must be exactly
    those, with those shapes. `dtype` applies to floating tensors. On the CPU, tensors of the type asked for are
    private maps of the file: they take no memory beyond the file's pages, and writing to them does not reach it.
    Raises MalformedFile or WrongKeys, naming file and key, before any tensor takes memory.
    """
    files = (files,) if isinstance(files, Path) else tuple(files)
    headers = headers_of(files)
    names = renamed(headers, rename)
    if expected is not None:
        require_shapes(names, headers, expected, files)
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        wanted = {name: stored for name, stored in names.items() if headers[stored].file == file}
        tensors.update(_read(file, wanted, device, dtype))
    return tensors


def check_finite(file: Path) -> None:
    """Return when all floating tensors of a file are finite; each is read alone. Raises WrongKeys, MalformedFile."""
    try:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no mapping
                tensor = opened.get_tensor(name)
                if tensor.is_floating_point() and not tensor.float().isfinite().all():
                    raise WrongKeys(f"{file.parent.name}/{file.name}: {name}: has values that are not finite")
    except (OSError, ValueError, SafetensorError) as fault:
        raise MalformedFile(f"{file}: {fault}") from fault


def renamed(headers: Mapping[str, Header], rename: Callable[[str], str | None]) -> dict[str, str]:
    """Return the stored name of each tensor by its name in the model. Raises WrongKeys for doubles."""
    names: dict[str, str] = {}
    for stored, header in headers.items():
        name = rename(stored)
        if name is None:
            continue
        if name in names:
            raise WrongKeys(f"{header.file}: {stored}: means the same as {names[name]}")
        names[name] = stored
    return names


def require_shapes(
    names: Mapping[str, str], headers: Mapping[str, Header], expected: Shapes, files: Sequence[Path]
) -> None:
    """Return when `names` are exactly those expected, with their shapes. Raises WrongKeys naming file and key."""
    for name, stored in names.items():
        header = headers[stored]
        if name not in expected:
            raise WrongKeys(f"{header.file}: {stored}: the model has no such tensor")
        found, wanted = header.tensors[stored].shape, list(expected[name])
        if found != wanted:
            raise WrongKeys(f"{header.file}: {stored}: has shape {found}, the model needs {wanted}")
    missing = sorted(set(expected) - set(names))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise WrongKeys(f"{', '.join(map(str, files))}: {missing[0]}{more}: missing")


def _read(
    file: Path, wanted: Mapping[str, str], device: torch.device | str, dtype: torch.dtype | None
) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    try:
        with safe_open(file, framework="pt", device=str(device)) as opened:
            for name, stored in wanted.items():
                tensor = opened.get_tensor(stored)
                convert = dtype is not None and tensor.is_floating_point()
                tensors[name] = tensor.to(dtype) if convert else tensor
    except (OSError, ValueError, SafetensorError) as fault:
        raise MalformedFile(f"{file}: {fault}") from fault
    return tensors
