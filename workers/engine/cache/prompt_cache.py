"""What text encoders made of the prompts used last, so that a prompt is encoded once."""

from collections.abc import Callable, Hashable

import torch

from workers.engine.cache.tiers import MemoryTier, Tensors, size_of


class PromptCache:
    """Tensors of a prompt by everything they depend on, the ones used last within a budget of bytes.

    Held beside a base model: its `lock` is held around every call.
    """

    def __init__(self, budget: int, device: torch.device) -> None:
        self.tier = MemoryTier("prompts", budget, device)

    def get(self, key: Hashable, build: Callable[[], Tensors]) -> Tensors:
        """Return the tensors under `key`, built when they are not there; what is over the budget is not kept."""
        name = repr(key)
        found = self.tier.get(name)
        if found is None:
            found = build()
            if size_of(found) <= self.tier.budget:
                self.tier.put(name, found)
        return found
