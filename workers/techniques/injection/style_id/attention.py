"""Self-attention that somebody else decides: the one processor, and the hooks that tell it whose rows it sees."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor

from workers.engine.backbones import patches
from workers.engine.denoise import DenoiserCall, Hooks, Trajectory
from workers.techniques.injection.style_id.layers import Layer


class AttentionHooks(Hooks):
    """Hooks of one denoising that answer for its self-attention layers.

    Latents stay in float32, because an inversion adds up its rounding; the UNet gets them in its own dtype.
    """

    call: DenoiserCall

    def before_predict(self, call: DenoiserCall) -> None:
        """Note whose rows the layers are going to see."""
        call.sample = call.sample.to(call.condition.text.dtype)
        self.call = call

    def trajectories(self) -> list[tuple[Trajectory, slice]]:
        """Return the trajectories of the present call with their rows, in order."""
        distinct = dict.fromkeys(part.trajectory for part in self.call.rows)
        return [(trajectory, self.call.of(trajectory)) for trajectory in distinct]

    def attend(self, layer: str, attn: Any, x: Tensor) -> Tensor:
        """Return the attention's result before its output projection; x and the result (rows, tokens, width)."""
        raise NotImplementedError


class Processor:
    """A diffusers attention processor for an `attn1` of a transformer block: projections, no masks, no norms."""

    def __init__(self, layer: str, hooks: AttentionHooks) -> None:
        self._layer = layer
        self._hooks = hooks

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the layer's output (rows, tokens, channels)."""
        to_out, dropout = attn.to_out
        return dropout(to_out(self._hooks.attend(self._layer, attn, hidden_states)))


def hooked_attention(unet: Any, layers: Iterable[Layer], hooks: AttentionHooks) -> AbstractContextManager[None]:
    """Let `hooks` answer for these layers of the UNet."""
    processors = {f"{layer.name}.processor": Processor(layer.name, hooks) for layer in layers}
    return patches.attention_processors(unet, processors)
