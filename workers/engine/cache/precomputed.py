"""Which preparations are still of use: those of which the style cache has everything."""

import threading
from collections import OrderedDict
from collections.abc import Collection

from workers.engine.cache.style_cache import StyleCache

MOST = 500
"""Preparations remembered; the oldest is forgotten first."""


class PrecomputedStyles:
    """What was prepared, by the keys of the style cache that it filled. Safe for threads."""

    def __init__(self, cache: StyleCache) -> None:
        self._cache = cache
        self._keys: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, preparation: str, keys: Collection[str]) -> None:
        """Remember what a preparation asked of the cache."""
        with self._lock:
            self._keys.pop(preparation, None)
            self._keys[preparation] = frozenset(keys)
            while len(self._keys) > MOST:
                self._keys.popitem(last=False)

    def held(self) -> frozenset[str]:
        """Return the preparations of which nothing had to go; those that lost something are forgotten."""
        with self._lock:
            for preparation in [known for known, keys in self._keys.items() if not self._cache.has(keys)]:
                del self._keys[preparation]
            return frozenset(self._keys)
