"""Parts that several base models have in common: T5, CLIP and the VAE of FLUX.1's forms, once in memory."""

import threading
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakValueDictionary


class SharedParts:
    """Loaded parts by the digest of their files, for as long as a base model has them.

    Base models that share parts have one lock: what a request changes of a text encoder, another must not see.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._parts: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def get_or_load(self, key: str, build: Callable[[], Any]) -> Any:
        """Return the part that is loaded under a key, or what `build` returns."""
        with self.lock:
            part = self._parts.get(key)
            if part is None:
                part = self._parts[key] = build()
            return part

    def loaded(self, keys: Mapping[str, str]) -> dict[str, Any]:
        """Return those of some parts, named with their keys, that are loaded."""
        found = {name: self._parts.get(key) for name, key in keys.items()}
        return {name: part for name, part in found.items() if part is not None}

    def keep(self, keys: Mapping[str, str], parts: Mapping[str, Any]) -> None:
        """Offer parts to further base models."""
        for name, key in keys.items():
            self._parts[key] = parts[name]
