"""Which base models are warm on this worker."""

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable

import torch

from workers.engine.backbones.base import Backbone
from workers.engine.errors import OutOfMemory


def _enough(model: str) -> str:
    return ""


class BackboneCache:
    """Base models by name, loaded on first use; those unused longest make room for another."""

    def __init__(
        self, load: Callable[[str], Backbone], *, capacity: int = 1, lacking: Callable[[str], str] = _enough
    ) -> None:
        """`lacking` returns which memory is too small for a model beside those that are warm now; empty if none is."""
        self._load = load
        self._capacity = capacity
        self._lacking = lacking
        self._warm: OrderedDict[str, Backbone] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, model: str) -> Backbone:
        """Return the model, loading it when it is not warm.

        Raises what loading raises, ModelUnusable above all, and OutOfMemory before memory is taken for a model that
        does not fit.
        """
        with self._lock:
            if model not in self._warm:
                while len(self._warm) >= self._capacity:
                    self._release()
                while (lack := self._lacking(model)) and self._warm:
                    self._release()
                if lack:
                    raise OutOfMemory(lack)
                self._warm[model] = self._load(model)
            self._warm.move_to_end(model)
            return self._warm[model]

    def release_other(self, model: str, lacking: int) -> bool:
        """Let go of the model unused longest that is not this one; return whether it was done.

        It is not where all others together have fewer than the `lacking` bytes.
        """
        with self._lock:
            others = [name for name in self._warm if name != model]
            if not others or sum(self._warm[name].weight_bytes for name in others) < lacking:
                return False
            self._release(others[0])
            return True

    def _release(self, model: str | None = None) -> None:
        """Let go of a model, the one unused longest where none is named, and of its memory."""
        self._warm.pop(model or next(iter(self._warm)))
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def warm(self) -> tuple[str, ...]:
        """Return the names of the loaded models, the one used last at the end."""
        with self._lock:
            return tuple(self._warm)
