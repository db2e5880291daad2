"""A published IP-Adapter file, as safetensors; the authors' `.bin` is converted before it comes here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from model_store.errors import BadCheckpoint
from model_store.load.pickles import refuse_pickled
from model_store.load.tensors import load_tensors
from workers.engine.errors import ModelUnusable

Kind = Literal["base", "plus"]
BASE_TOKENS = 4
PARTS = ("image_proj", "ip_adapter")


@dataclass(frozen=True)
class AdapterFile:
    """The tensors of an adapter on the CPU, as stored: the projection, and keys and values per cross-attention."""

    path: Path
    image_proj: Mapping[str, Tensor]
    ip_adapter: Mapping[str, Tensor]

    @property
    def kind(self) -> Kind:
        """`base` reads one embedding of the picture, `plus` its patches. Raises ModelUnusable for other layouts."""
        if self.image_proj.keys() == {"proj.weight", "proj.bias", "norm.weight", "norm.bias"}:
            return "base"
        if {"latents", "proj_in.weight", "proj_out.weight", "layers.0.0.to_q.weight"} <= self.image_proj.keys():
            return "plus"
        raise ModelUnusable(f"{self.path.name} is neither a base nor a plus IP-Adapter (face adapters are not used)")

    @property
    def tokens(self) -> int:
        """Tokens per picture."""
        return BASE_TOKENS if self.kind == "base" else int(self.image_proj["latents"].shape[1])

    @property
    def feature_width(self) -> int:
        """Width of the image features it reads: D of the embedding, or H of the patches."""
        return int(self.image_proj["proj.weight" if self.kind == "base" else "proj_in.weight"].shape[1])

    @property
    def token_width(self) -> int:
        """Width C of the tokens it makes."""
        return int(self.image_proj["norm.weight" if self.kind == "base" else "norm_out.weight"].shape[0])

    @property
    def fingerprint(self) -> str:
        """A name for the file's content in cache keys: its name, size and time of change."""
        facts = self.path.stat()
        return f"{self.path.name}:{facts.st_size}:{facts.st_mtime_ns}"

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Return the tensors as diffusers takes them."""
        return {"image_proj": dict(self.image_proj), "ip_adapter": dict(self.ip_adapter)}


def read(path: Path) -> AdapterFile:
    """Return the adapter in a file. Raises ModelUnusable when it cannot be read or holds no adapter."""
    parts = read_parts(path, PARTS, keymap="ip-adapter")
    if not all(parts.values()):
        raise ModelUnusable(f"{path} holds no IP-Adapter: {' and '.join(PARTS)} are needed")
    return AdapterFile(path, **parts)


def read_parts(path: Path, names: Sequence[str], *, keymap: str) -> dict[str, dict[str, Tensor]]:
    """Return the named parts of a checkpoint, each a dictionary of tensors, empty where it has none.

    A part is what has its name and a dot before the tensors' names. Raises ModelUnusable when the file cannot be
    read; for a pickled one with the command that converts it by `keymap`.
    """
    try:
        refuse_pickled(path, keymap)
        tensors = load_tensors(path)
    except BadCheckpoint as broken:
        raise ModelUnusable(f"{path} cannot be read: {broken}") from broken
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in names}
    for name, tensor in tensors.items():
        part, _, key = name.partition(".")
        if part in parts:
            parts[part][key] = tensor
    return parts
