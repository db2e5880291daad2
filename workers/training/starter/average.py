"""Exponential moving average of a model's weights."""

import torch
from torch import Tensor, nn


class Average:
    """Keeps `decay * average + (1 - decay) * weights` for every parameter; the decay grows with the step."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model's weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current = model.state_dict()
        torch._foreach_lerp_([self.weights[name] for name in current], list(current.values()), 1 - decay)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Continue from saved averages."""
        for name, value in weights.items():
            self.weights[name].copy_(value)
