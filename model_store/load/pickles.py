"""Pickled files are never loaded: how one is refused, and the command that makes a loadable file of it."""

import shlex
from pathlib import Path

from model_store.errors import MalformedFile

PICKLED = frozenset({".bin", ".ckpt", ".pt", ".pth"})


def conversion(file: Path, keymap: str = "plain") -> str:
    """Return the command line that converts a pickled file to safetensors beside it."""
    target = file.with_suffix(".safetensors")
    return shlex.join(["stylize", "models", "convert", str(file), str(target), "--keymap", keymap])


def refuse_pickled(file: Path, keymap: str) -> None:
    """Return when the name is not a pickled file's. Raises MalformedFile with the command that converts it."""
    if file.suffix.lower() in PICKLED:
        raise MalformedFile(f"{file} is pickled, and only safetensors are loaded; run: {conversion(file, keymap)}")
