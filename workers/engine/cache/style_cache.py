"""What depends only on the style, computed once: tensors under a content key, in tiers from near to far.

A lookup goes down the tiers; what is found is brought back to the nearest. What a tier has no room for moves to the
next. Simultaneous requests for the same missing key build it once and share it.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from workers.contract.runtime.tracing import start_span
from workers.engine.cache.tiers import Tensors, Tier, size_of

TAG = 16
"""Digits of a picture's sha256 in the keys: enough to tell pictures apart, few enough for the name of a file."""


def key_of(**facts: Any) -> str:
    """Return the sha256 of everything a cached value depends on: JSON values, by name."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def tag_of(pictures: Collection[str]) -> str:
    """Return what stands behind a key in the cache, so that a value can be found by the pictures it came from."""
    return "".join(f".{sha256[:TAG]}" for sha256 in sorted(set(pictures)))


@dataclass
class PendingBuild:
    """One build under way; others wait for `done`. What is `discarded` by then is not kept."""

    discarded: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    value: Tensors | None = None


class StyleCache:
    """Get-or-build over tiers, nearest first. Safe for threads; counts hits and misses."""

    def __init__(self, tiers: Sequence[Tier]) -> None:
        self.tiers = tuple(tiers)
        self.hits = 0
        self.misses = 0
        self._lock = threading.Lock()
        self._pending: dict[str, PendingBuild] = {}

    def get(self, key: str, build: Callable[[], Mapping[str, Tensor]]) -> tuple[Tensors, bool]:
        """Return the value under `key` and whether it was there; `build` makes it when it was not.

        When a build fails its error goes to its own caller, and one of those who waited builds in its place.
        """
        while True:
            with self._lock:
                if (found := self._find(key)) is not None:
                    self.hits += 1
                    return found, True
                pending = self._pending.get(key)
                if pending is None:
                    mine = self._pending[key] = PendingBuild()
                    self.misses += 1
                    break
            pending.done.wait()
            if pending.value is not None:
                with self._lock:
                    self.hits += 1
                return pending.value, True
        return self._build(key, mine, build), False

    def _build(self, key: str, pending: PendingBuild, build: Callable[[], Mapping[str, Tensor]]) -> Tensors:
        try:
            pending.value = dict(build())
            with self._lock:
                if not pending.discarded:
                    self._store(0, key, pending.value)
            return pending.value
        finally:
            with self._lock:
                del self._pending[key]
            pending.done.set()

    def _find(self, key: str) -> Tensors | None:
        for depth, tier in enumerate(self.tiers):
            if (value := tier.get(key)) is not None:
                if depth:
                    self._store(0, key, value)
                    return self.tiers[0].get(key) or value
                return value
        return None

    def _store(self, depth: int, key: str, value: Tensors) -> None:
        """Put a value into the tier at `depth`; what does not fit there, itself included, goes one tier down."""
        if depth >= len(self.tiers):
            return
        tier = self.tiers[depth]
        pushed_out = tier.put(key, value) if size_of(value) <= tier.budget else [(key, value)]
        for old_key, old_value in pushed_out:
            self._store(depth + 1, old_key, old_value)

    def device_for(self, size: int) -> torch.device | None:
        """Return whose memory a value of `size` bytes would be kept in, None when no tier in memory has the room.

        Large values are built right there; what no tier has room for is better not kept at all.
        """
        return next((tier.device for tier in self.tiers if tier.device is not None and size <= tier.budget), None)

    def has(self, keys: Collection[str]) -> bool:
        """Return whether there is a value under each of some keys, without counting that as use."""
        with self._lock:
            return all(any(tier.has(key) for tier in self.tiers) for key in keys)

    def forget(self, pictures: Collection[str]) -> None:
        """Forget in every tier what requests with any of these style pictures (sha256) computed from theirs."""
        tags = {sha256[:TAG] for sha256 in pictures}

        def discarded(key: str) -> bool:
            return not tags.isdisjoint(key.split(".")[1:])

        with self._lock:
            for tier in self.tiers:
                tier.drop(discarded)
            for key, pending in self._pending.items():
                pending.discarded = pending.discarded or discarded(key)

    def clear(self) -> None:
        """Forget everything in every tier."""
        with self._lock:
            for tier in self.tiers:
                tier.clear()

    def bytes(self) -> dict[str, int]:
        """Return the bytes held in each tier, by the tier's name."""
        with self._lock:
            return {tier.name: tier.used for tier in self.tiers}


class RequestCache:
    """The style cache as one request sees it: remembers whether anything of the style had to be built."""

    def __init__(self, cache: StyleCache, pictures: Collection[str] = ()) -> None:
        """`pictures` names the request's style pictures by their sha256: what is of the style goes when one of them is
        forgotten."""
        self._cache = cache
        self._tag = tag_of(pictures)
        self.hits = 0
        self.misses = 0
        self.keys: set[str] = set()
        """The keys under which the cache has what is of the style."""

    def get(
        self, key: str, build: Callable[[], Mapping[str, Tensor]], *, of_style: bool = True, shows_style: bool = False
    ) -> Tensors:
        """Return the value under `key`, built when it is not there; what is not `of_style` is not remembered here.

        What `shows_style` among other pictures is forgotten with the style pictures, like what is of them alone.
        """
        whole = key + self._tag if of_style or shows_style else key
        with start_span("style" if of_style else "content"):
            value, hit = self._cache.get(whole, build)
        if not of_style:
            return value
        self.keys.add(whole)
        if hit:
            self.hits += 1
        else:
            self.misses += 1
        return value

    def device_for(self, size: int) -> torch.device | None:
        """Return whose memory a value of `size` bytes would be kept in, None when no tier in memory has the room."""
        return self._cache.device_for(size)

    @property
    def outcome(self) -> Literal["hit", "miss", "none"]:
        """`hit` when everything asked for was there, `none` when nothing was asked for."""
        if self.misses:
            return "miss"
        return "hit" if self.hits else "none"
