"""Cross-attention that also sees a picture's tokens, as training needs it: differentiable, set once, fed per step."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(eq=False)
class StarterShown:
    """Tokens (n, tokens, 128) by name, and the scale of their attention; changed at every step."""

    tokens: dict[str, Tensor] = field(default_factory=dict)
    scale: dict[str, float] = field(default_factory=dict)


class ImageAttention(nn.Module):
    """Keys and values of `shown.tokens[name]` beside the text's, both starting from the layer's own for text."""

    def __init__(self, attn: Any, name: str, shown: StarterShown) -> None:
        super().__init__()
        self.name, self.shown = name, shown
        self.to_k, self.to_v = (
            nn.Linear(own.in_features, own.out_features, bias=False) for own in (attn.to_k, attn.to_v)
        )
        self.to_k.weight.data.copy_(attn.to_k.weight.data)
        self.to_v.weight.data.copy_(attn.to_v.weight.data)

    def forward(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """Attend from (n, cells, C); which of the two ways, the subclass says."""
        assert encoder_hidden_states is not None
        assert attention_mask is None
        query = attn.to_q(hidden_states)
        text = attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        tokens = self.shown.tokens[self.name]
        attended = self.attended(attn, query, text, (self.to_k(tokens), self.to_v(tokens)))
        result: Tensor = attn.to_out[0](attended)
        return result

    def attended(self, attn: Any, query: Tensor, text: tuple[Tensor, Tensor], image: tuple[Tensor, Tensor]) -> Tensor:
        """(n, cells, C) of query and keys and values (n, tokens, C)."""
        raise NotImplementedError


class Joint(ImageAttention):
    """One softmax over text and picture, as DEADiff has it."""

    def attended(self, attn: Any, query: Tensor, text: tuple[Tensor, Tensor], image: tuple[Tensor, Tensor]) -> Tensor:
        """See the base class."""
        return plain(attn, query, *(torch.cat(both, dim=1) for both in zip(text, image, strict=True)))


class Decoupled(ImageAttention):
    """A second softmax over the picture, its result added with a scale, as IP-Adapter and CSGO have it."""

    def attended(self, attn: Any, query: Tensor, text: tuple[Tensor, Tensor], image: tuple[Tensor, Tensor]) -> Tensor:
        """See the base class."""
        of_text = plain(attn, query, *text)
        scale = self.shown.scale.get(self.name, 1.0)
        return of_text + scale * plain(attn, query, *image) if scale else of_text


def plain(attn: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k / sqrt(d)) v per head by plain products: fused attention is slow backwards on a CPU."""
    query, key, value = (attn.head_to_batch_dim(each) for each in (query, key, value))
    result: Tensor = attn.batch_to_head_dim(torch.bmm(attn.get_attention_scores(query, key), value))
    return result


def cross_attentions(net: Any) -> list[tuple[int, str]]:
    """(position among all attentions, module name) of each cross-attention, as IP-Adapter files number them."""
    names = [name.removesuffix(".processor") for name in net.attn_processors]
    return [(number, name) for number, name in enumerate(names) if name.endswith("attn2")]
