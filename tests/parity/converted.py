"""The authors' pickled weights as an installation leaves them: converted once for each content."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from model_store.convert.pickled import convert_pickled

BELOW = Path(__file__).parents[2] / ".data" / "parity" / "converted"


def converted(source: Path, keymap: str, beside: Mapping[str, Path] | None = None) -> Path:
    """Return `<keymap>.safetensors` made of a pickled file, alone in its folder but for copies of `beside`, by name.

    A file that is safetensors already is returned as it is. Raises ConversionFailed.
    """
    if source.suffix == ".safetensors":
        return source
    name, beside = f"{keymap}.safetensors", beside or {}
    folder = BELOW / _digest(source, keymap, beside)
    if not folder.is_dir():
        staged = folder.with_name(f"{folder.name}.{os.getpid()}")
        convert_pickled(source, staged / name, keymap)
        for copy, content in beside.items():
            shutil.copyfile(content, staged / copy)
        try:
            staged.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(staged)
    return folder / name


def _digest(source: Path, keymap: str, beside: Mapping[str, Path]) -> str:
    """Return a name for all that the folder's content depends on."""
    seen = hashlib.sha256((resources.files("model_store.convert") / "keymaps.toml").read_bytes())
    seen.update(keymap.encode())
    for name, file in {"": source, **beside}.items():
        seen.update(name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return seen.hexdigest()[:32]
