"""Which base models are warm on this worker."""

import threading
from collections import OrderedDict
from collections.abc import Callable

from workers.engine.backbones.base import Backbone


class BackboneCache:
    """Base models by name, loaded on first use; the one unused longest makes room for another."""

    def __init__(self, load: Callable[[str], Backbone], *, capacity: int = 1) -> None:
        self._load = load
        self._capacity = capacity
        self._warm: OrderedDict[str, Backbone] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, model: str) -> Backbone:
        """Return the model, loading it when it is not warm. Raises what loading raises, ModelUnusable above all."""
        with self._lock:
            if model not in self._warm:
                while len(self._warm) >= self._capacity:
                    self._warm.popitem(last=False)
                self._warm[model] = self._load(model)
            self._warm.move_to_end(model)
            return self._warm[model]

    def warm(self) -> tuple[str, ...]:
        """Return the names of the loaded models, the one used last at the end."""
        with self._lock:
            return tuple(self._warm)
