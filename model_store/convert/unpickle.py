"""Tensors out of a pickled checkpoint, by torch's restricted reader. Runs in the converting child only."""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from model_store.convert.keymap import KeyMap, keymap_of
from model_store.errors import ConversionFailed

_PASSED_OVER = (
    "argparse.Namespace",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "pytorch_lightning.callbacks.ModelCheckpoint",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
)
"""What training runs pickled beside their weights, as in the published CSD and the first Stable Diffusion files."""


class PassedOver:
    """Stands for an object that is not wanted: takes whatever it is made of, keeps nothing and runs nothing."""

    def __init__(self, *given: object) -> None: ...

    def __new__(cls, *given: object) -> "PassedOver":
        """Return an empty one."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None: ...


def convert(source: Path, target: Path, keymap: str) -> int:
    """Write the tensors of `source` that the key map keeps to `target`; return their number.

    Raises ConversionFailed, and whatever torch raises for a file that is not a plain checkpoint.
    """
    with torch.serialization.safe_globals([(PassedOver, name) for name in _PASSED_OVER]):
        content = torch.load(source, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(source))
    tensors = _named(content, keymap_of(keymap))
    if not tensors:
        raise ConversionFailed(f"nothing in it fits the key map {keymap!r}")
    save_file(_separate(tensors), target, metadata={"format": "pt"})
    return len(tensors)


def _named(content: object, rules: KeyMap) -> dict[str, torch.Tensor]:
    """Return the kept tensors under their new names."""
    if rules.root is not None:
        if not isinstance(content, Mapping) or rules.root not in content:
            raise ConversionFailed(f"the file has no {rules.root!r}")
        content = content[rules.root]
    tensors: dict[str, torch.Tensor] = {}
    for stored, tensor in _flattened(content, ""):
        name = rules.name_of(stored)
        if name is None:
            continue
        if name in tensors:
            raise ConversionFailed(f"{stored}: means the same as another tensor")
        tensors[name] = tensor
    return tensors


def _flattened(content: object, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor with its joined name; all that is no tensor is passed over."""
    if isinstance(content, torch.Tensor):
        if content.layout is not torch.strided or content.is_quantized or content.is_meta:
            raise ConversionFailed(f"{prefix}: not a plain dense tensor")
        yield prefix, content.detach()
    elif isinstance(content, Mapping):
        for key, value in content.items():
            if not isinstance(key, str | int):
                raise ConversionFailed(f"{prefix}: a key is neither text nor number")
            yield from _flattened(value, f"{prefix}.{key}" if prefix else str(key))


def _separate(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors contiguous and each with memory of its own, as safetensors wants them."""
    seen: set[int] = set()
    separate: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        whole = tensor.contiguous()
        storage = whole.untyped_storage().data_ptr()
        separate[name] = whole.clone() if storage in seen else whole
        seen.add(storage)
    return separate
