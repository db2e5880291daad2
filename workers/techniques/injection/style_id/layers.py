"""Which self-attention layers get the style, by the decoder indices of the paper's code."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workers.engine.errors import Refused


@dataclass(frozen=True)
class Layer:
    """One self-attention: its module's name in the UNet, channels, and how often its latents were halved."""

    name: str
    width: int
    level: int

    def tokens(self, h: int, w: int) -> int:
        """Return its tokens for latents of h x w."""
        side = 2**self.level
        return -(-h // side) * -(-w // side)


def chosen(unet: Any, indices: Sequence[int]) -> tuple[Layer, ...]:
    """Return the self-attention (attn1) layers of a diffusers UNet at decoder indices, counted over all up blocks.

    Raises Refused when an index has no attention on this UNet.
    """
    decoder = [(block, b, n) for b, block in enumerate(unet.up_blocks) for n in range(len(block.resnets))]
    having = [i for i, (block, _, _) in enumerate(decoder) if hasattr(block, "attentions")]
    if wrong := sorted(set(indices) - set(having)):
        raise Refused(
            f"params.injection_layers: {', '.join(map(str, wrong))} have no self-attention on this base model; "
            f"{', '.join(map(str, having))} have"
        )
    return tuple(layer for i in indices for layer in _within(*decoder[i], len(unet.up_blocks)))


def _within(block: Any, b: int, n: int, blocks: int) -> list[Layer]:
    """Return the attn1 of every transformer block of `up_blocks.b.attentions.n`."""
    transformers = block.attentions[n].transformer_blocks
    return [
        Layer(f"up_blocks.{b}.attentions.{n}.transformer_blocks.{k}.attn1", one.attn1.to_k.out_features, blocks - 1 - b)
        for k, one in enumerate(transformers)
    ]
