"""Where a worker keeps the parts of base models, and how it stores the weights of a transformer."""

from dataclasses import dataclass
from typing import Literal

import torch

WeightStorage = Literal["full", "float8", "torchao-float8", "torchao-int8"]
TRANSFORMER, VAE = "transformer", "vae"
ENCODERS = frozenset({"text_encoder", "text_encoder_2"})
HOST = torch.device("cpu")


@dataclass(frozen=True)
class PartPlacement:
    """The device for what is run at each step, where the encoders are, and the form of a transformer's weights.

    UNets and all that belongs to them stay on the device in full, whatever is said here.
    """

    device: torch.device
    dtype: torch.dtype
    weight_storage: WeightStorage = "full"
    encoders_on_host: bool = False

    def device_of(self, part: str, *, of_transformer: bool) -> torch.device:
        """Return where a part belongs."""
        return HOST if self.encoders_on_host and of_transformer and part in ENCODERS else self.device

    def dtype_of(self, part: str) -> torch.dtype:
        """Return the type of a part's weights: the VAE's are float32, because style latents must be exact."""
        return torch.float32 if part == VAE else self.dtype
