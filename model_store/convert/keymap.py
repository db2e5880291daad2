"""Key maps: how the names of a pickled checkpoint become names of a safetensors file. The maps are data."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from types import MappingProxyType

from model_store.catalogue.entry import DeclaredEntry
from model_store.errors import ConversionFailed


class Substitution(DeclaredEntry):
    """One substitution of a name by a regular expression."""

    pattern: str
    to: str


class KeyMap(DeclaredEntry):
    """What of a checkpoint is kept, and under which names. Patterns are regular expressions."""

    title: str
    root: str | None = None
    """Key under which the tensors lie; none when they are the whole file."""
    keep: tuple[str, ...] = ()
    """A name is kept when one of these is found in it; without any, all are."""
    drop: tuple[str, ...] = ()
    rename: tuple[Substitution, ...] = ()
    restore: tuple[Substitution, ...] = ()
    """Undoes `rename`."""

    def name_of(self, stored: str) -> str | None:
        """Return the new name of a stored one, None when it is left out."""
        if self.keep and not any(re.search(pattern, stored) for pattern in self.keep):
            return None
        if any(re.search(pattern, stored) for pattern in self.drop):
            return None
        return _substituted(stored, self.rename)

    def stored_name_of(self, name: str) -> str:
        """Return the stored name of which `name` was made."""
        return _substituted(name, self.restore)


def _substituted(name: str, substitutions: Sequence[Substitution]) -> str:
    for each in substitutions:
        name = re.sub(each.pattern, each.to, name, count=1)
    return name


@cache
def keymaps() -> Mapping[str, KeyMap]:
    """Return all key maps by name."""
    raw = tomllib.loads((resources.files("model_store.convert") / "keymaps.toml").read_text(encoding="utf-8"))
    return MappingProxyType({name: KeyMap.model_validate(found) for name, found in raw.items()})


def keymap_of(name: str) -> KeyMap:
    """Return a key map. Raises ConversionFailed when there is none of that name."""
    found = keymaps().get(name)
    if found is None:
        raise ConversionFailed(f"no key map named {name!r}; there are {', '.join(sorted(keymaps()))}")
    return found
