"""Qwen3 as FLUX.2 [klein] reads it: the states of three inner layers, so neither later layers nor a head are loaded."""

from copy import deepcopy
from typing import ClassVar

from torch import nn
from transformers import Qwen3Config, Qwen3Model

LAYERS = 27
"""The last layer whose states are read."""


class Qwen3TextLayers(Qwen3Model):  # type: ignore[misc]
    """The first LAYERS layers of Qwen3; its last hidden state is theirs, not normalised.

    Stored weights of later layers, of the final norm and of the language model's head are passed over.
    """

    _keys_to_ignore_on_load_unexpected: ClassVar = [
        rf"(^|\.)layers\.({'|'.join(map(str, range(LAYERS, 100)))})\.",
        r"^(model\.)?norm\.weight$",
        r"^lm_head\.weight$",
    ]

    def __init__(self, config: Qwen3Config) -> None:
        """Build the layers of a published configuration, which may have more."""
        cut = deepcopy(config)
        cut.num_hidden_layers = min(cut.num_hidden_layers, LAYERS)
        cut.layer_types = cut.layer_types[:LAYERS]
        super().__init__(cut)
        self.norm = nn.Identity()
