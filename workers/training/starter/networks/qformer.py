"""DEADiff's two readers of a picture (arXiv 2403.06951), small: Q-Former, projector, keys and values of the tokens."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers import InstructBlipQFormerConfig, InstructBlipQFormerModel
from transformers.activations import QuickGELUActivation

from workers.training.starter.networks.attention import Joint, StarterShown, cross_attentions
from workers.training.starter.networks.text import WIDTH

Side = Literal["style", "content"]

TOKENS, LAYERS, HEADS, INTERMEDIATE, PROJECTED = 8, 2, 4, 256, 512
NORM_EPS = 1e-12
WORDS: dict[Side, tuple[int, int, int]] = {"style": (0, 1, 2), "content": (0, 3, 2)}
"""Start, the word, end: the only texts that these Q-Formers are told, so that no more words are stored."""
CONTENT_LAYERS = ("down_blocks.2.", "mid_block.", "up_blocks.1.attentions.0.", "up_blocks.1.attentions.1.")
"""The five coarse cross-attentions; all others are shown the style."""


class StarterProjector(nn.Module):
    """y = x + dense2(quickgelu(dense1(LayerNorm(x))))."""

    def __init__(self) -> None:
        super().__init__()
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=NORM_EPS)
        self.dense1 = nn.Linear(WIDTH, PROJECTED)
        self.dense2 = nn.Linear(PROJECTED, WIDTH)
        self.act = QuickGELUActivation()

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, 128)."""
        y: Tensor = self.dense2(self.act(self.dense1(self.LayerNorm(x))))
        return x + y


class StarterReader(nn.Module):
    """Patch features (n, 65, 128) to the tokens (n, 8, 128) of one side of the picture."""

    def __init__(self, side: Side) -> None:
        super().__init__()
        self.word = WORDS[side]
        self.ln_vision = nn.LayerNorm(WIDTH)
        config = InstructBlipQFormerConfig(
            vocab_size=1 + max(max(word) for word in WORDS.values()),
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            intermediate_size=INTERMEDIATE,
            max_position_embeddings=len(self.word),
            cross_attention_frequency=1,
            encoder_hidden_size=WIDTH,
            layer_norm_eps=NORM_EPS,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        config._attn_implementation = "eager"
        self.qformer: Any = InstructBlipQFormerModel(config)
        self.query_tokens = nn.Parameter(0.2 * torch.randn(1, TOKENS, WIDTH))
        self.proj_layer = StarterProjector()

    def forward(self, features: Tensor) -> Tensor:
        """(n, 8, 128)."""
        count = len(features)
        answered = self.qformer(
            input_ids=torch.tensor([self.word], device=features.device).expand(count, -1),
            query_embeds=self.query_tokens.expand(count, -1, -1),
            encoder_hidden_states=self.ln_vision(features),
        ).last_hidden_state[:, :TOKENS]
        tokens: Tensor = self.proj_layer(answered)
        return tokens


@dataclass(frozen=True, eq=False)
class Readers:
    """What is trained: both readers, and keys and values in every cross-attention of `unet`, which is frozen."""

    trained: nn.ModuleDict
    shown: StarterShown


def attach(unet: UNet2DConditionModel) -> Readers:
    """Put joint attention into the UNet, for training."""
    shown, processors = StarterShown(), dict(unet.attn_processors)
    unet.requires_grad_(False)
    layers = nn.ModuleDict()
    for _, layer in cross_attentions(unet):
        side = "content" if layer.startswith(CONTENT_LAYERS) else "style"
        joint = Joint(unet.get_submodule(layer), side, shown).to(unet.device)
        processors[f"{layer}.processor"] = joint
        layers[layer.replace(".", "/")] = joint
    unet.set_attn_processor(processors)
    readers = {side: StarterReader(side) for side in ("style", "content")}
    return Readers(nn.ModuleDict({**readers, "layers": layers}).to(unet.device), shown)
