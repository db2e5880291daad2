"""Which safetensors files a folder's weights lie in: one, or several named by an index."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError

from model_store.catalogue.entry import SafePath
from model_store.errors import MalformedFile, NotInstalled, WrongKeys
from model_store.load.header import Header, read_header
from model_store.load.pickles import PICKLED, conversion

INDEX_LIMIT = 16 << 20
NAMES = ("diffusion_pytorch_model", "model", "pytorch_lora_weights", "ip_adapter")
"""File stems in which diffusers and transformers keep weights."""


class Index(BaseModel):
    """Content of an index file: which file of the same folder holds each tensor."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    weight_map: dict[str, SafePath]


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the safetensors files of a component's folder.

    Raises NotInstalled when there are none, MalformedFile for an index that is broken or names files elsewhere.
    """
    for stem in NAMES:
        index = folder / f"{stem}.safetensors.index.json"
        if index.exists():
            return tuple(folder / name for name in sorted(set(read_index(index).weight_map.values())))
        if (folder / f"{stem}.safetensors").is_symlink() or (folder / f"{stem}.safetensors").exists():
            return (folder / f"{stem}.safetensors",)
    refuse_missing(folder)


def refuse_missing(folder: Path) -> NoReturn:
    """Raise NotInstalled for a folder without weights; with the command that converts what is pickled there."""
    pickled = sorted(file for file in folder.glob("*") if file.suffix.lower() in PICKLED)
    remedy = f"; run: {conversion(pickled[0])}" if pickled else ""
    raise NotInstalled(f"{folder} holds no safetensors weights{remedy}")


def read_index(index: Path) -> Index:
    """Return the content of an index file. Raises MalformedFile for one that is broken or names files elsewhere."""
    if index.is_symlink() or index.stat().st_size > INDEX_LIMIT:
        raise MalformedFile(f"{index}: a link, or larger than {INDEX_LIMIT} bytes")
    try:
        found = Index.model_validate_json(index.read_bytes())
    except ValidationError as fault:
        first = fault.errors()[0]
        raise MalformedFile(f"{index}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from fault
    if any("/" in name or not name.endswith(".safetensors") for name in found.weight_map.values()):
        raise MalformedFile(f"{index}: names a file outside its folder or of another kind")
    return found


def headers_of(files: tuple[Path, ...]) -> Mapping[str, Header]:
    """Return by tensor name the header of the file that holds it. Raises MalformedFile, and WrongKeys for doubles."""
    found: dict[str, Header] = {}
    for file in files:
        header = read_header(file)
        for name in header.tensors:
            if name in found:
                raise WrongKeys(f"{file}: {name}: stands in {found[name].file.name} too")
            found[name] = header
    return MappingProxyType(found)
