"""FLUX.2's attention with kept keys and values of reference pictures, and with less of it for the style images.

Kept: references are at timestep 0 and attend to one another alone, so their keys and values are the same at every step
of every request, and the text and the picture attend to them. Less: log s is added to the logits where the key is a
token of a style image and the query one of the text or the picture.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor

from workers.engine.backbones import patches
from workers.engine.backbones.flux2 import Flux2, reference_tokens, text_positions
from workers.engine.denoise import DenoiserCall, Hooks, Rows, Trajectory
from workers.techniques.joint_attention import bias_of, biased_attention, projected, separated

KEY, VALUE = "key", "value"


@dataclass(frozen=True)
class SeenReferences:
    """What a request keeps for its denoising: tokens and factor of each reference; kept keys where they are used."""

    tokens: tuple[int, ...] = ()
    factors: tuple[float, ...] = ()
    kept: Mapping[str, Tensor] | None = None

    @property
    def patched(self) -> bool:
        """Whether the model's own attention does not do."""
        return self.kept is not None or any(factor != 1 for factor in self.factors)


@dataclass
class AttentionState:
    """What the processors go by in the present call.

    `of_query`, `of_key` (rows, tokens, 1) are the bias' channels; `kept` has keys and values of references by layer for
    some of the rows each, with the number of rows; `recorded` takes those of the call.
    """

    of_query: Tensor | None = None
    of_key: Tensor | None = None
    kept: list[tuple[Mapping[str, Tensor], int]] = field(default_factory=list)
    recorded: dict[str, Tensor] | None = None

    def of_layer(self, name: str, heads: Tensor) -> Tensor:
        """Return what is kept under a name for all rows (rows, tokens, heads, width)."""
        rows = [kept[name].to(heads).expand(count, -1, -1, -1) for kept, count in self.kept]
        return rows[0] if len(rows) == 1 else torch.cat(rows)


class ReferenceAttention:
    """The part that the processors of both kinds of block share: from queries, keys and values to mixed heads."""

    _attention_backend = None
    _parallel_config = None

    def __init__(self, layer: str, state: AttentionState) -> None:
        self._layer, self._state = layer, state

    def mixed(self, query: Tensor, key: Tensor, value: Tensor, rotary: Any) -> Tensor:
        """Return (rows, tokens, heads * width) of queries and keys before their rotary embedding."""
        state, dispatch = self._state, {"backend": self._attention_backend, "parallel_config": self._parallel_config}
        query, key = (apply_rotary_emb(each, rotary, sequence_dim=1) for each in (query, key))
        if state.recorded is not None:
            state.recorded |= {f"{self._layer}.{KEY}": key.clone(), f"{self._layer}.{VALUE}": value.clone()}
        if state.kept:
            key = torch.cat([key, state.of_layer(f"{self._layer}.{KEY}", key)], dim=1)
            value = torch.cat([value, state.of_layer(f"{self._layer}.{VALUE}", value)], dim=1)
        if state.of_query is None or state.of_key is None:
            heads: Tensor = dispatch_attention_fn(query, key, value, **dispatch)
        else:
            heads = biased_attention(query, key, value, state.of_query, state.of_key, **dispatch)
        return heads.flatten(2, 3).to(query.dtype)


class DoubleBlockAttention(ReferenceAttention):
    """The processor of a double block."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the states of the pictures and those of the text."""
        joint = self.mixed(*projected(attn, hidden_states, encoder_hidden_states), image_rotary_emb)
        return separated(attn, joint, encoder_hidden_states.shape[1])


class SingleBlockAttention(ReferenceAttention):
    """The processor of a single block, whose projections are one with the MLP's."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Tensor:
        """Return the states of text and pictures."""
        inner = attn.to_qkv_mlp_proj(hidden_states)
        heads, mlp = inner.tensor_split([3 * attn.inner_dim], dim=-1)
        query, key, value = (each.unflatten(-1, (-1, attn.head_dim)) for each in heads.chunk(3, dim=-1))
        joint = self.mixed(attn.norm_q(query), attn.norm_k(key), value, image_rotary_emb)
        states: Tensor = attn.to_out(torch.cat([joint, attn.mlp_act_fn(mlp)], dim=-1))
        return states


class ReferenceHooks(Hooks):
    """Lays out for each call whose keys are kept and how strong each reference is."""

    def __init__(self, state: AttentionState) -> None:
        self._state = state
        self._rows: tuple[Rows, ...] = ()

    def before_predict(self, call: DenoiserCall) -> None:
        """Set the state for the call's rows, when they are others; their references have equal sizes."""
        if call.rows == self._rows:
            return
        self._rows = call.rows
        parts = [(part.trajectory.extra, part.stop - part.start) for part in call.rows]
        seen: SeenReferences = parts[0][0]
        self._state.kept = [(extra.kept, count) for extra, count in parts if extra.kept is not None]
        own = call.condition.text.shape[1] + call.sample.shape[2] * call.sample.shape[3]
        of_key = torch.cat([_biases(extra, own).expand(count, -1) for extra, count in parts])[..., None]
        of_query = torch.ones_like(of_key)
        of_query[:, own:] = 0
        device = call.sample.device
        self._state.of_key = of_key.to(device) if of_key.any() else None
        self._state.of_query = (of_query[:, :own] if seen.kept is not None else of_query).to(device)


def _biases(seen: SeenReferences, own: int) -> Tensor:
    """Return (tokens) what is added to the logits of each key: nothing for text and picture, then each reference's."""
    each = [torch.full((n,), bias_of(factor)) for n, factor in zip(seen.tokens, seen.factors, strict=True)]
    return torch.cat([torch.zeros(own), *each])


@contextmanager
def patched(backbone: Flux2, state: AttentionState) -> Iterator[None]:
    """Let every layer go by a state."""
    doubles = len(backbone.denoiser.transformer_blocks)
    processors = {
        layer: (DoubleBlockAttention if i < doubles else SingleBlockAttention)(layer, state)
        for i, layer in enumerate(backbone.attention_layers)
    }
    with patches.attention_processors(backbone.denoiser, processors):
        yield


@contextmanager
def seeing(backbone: Flux2, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
    """Let every layer see the trajectories' references; nothing is changed where the model does so by itself."""
    if not any(one.extra.patched for one in trajectories):
        yield Hooks()
        return
    state = AttentionState()
    with patched(backbone, state):
        yield ReferenceHooks(state)


@torch.no_grad()
def reference_keys(backbone: Flux2, latents: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return keys (after the rotary embedding) and values (1, tokens, heads, width) of references by layer.

    `latents` (1, 128, h, w) are of all references in their order: they attend to one another.
    """
    tokens, places = reference_tokens(latents)
    no_text = tokens.new_zeros(1, 0, backbone.denoiser.config.joint_attention_dim)
    recorded: dict[str, Tensor] = {}
    with patched(backbone, AttentionState(recorded=recorded)):
        backbone.denoiser(
            hidden_states=tokens.to(backbone.dtype),
            timestep=torch.zeros(1, device=backbone.device),
            encoder_hidden_states=no_text.to(backbone.dtype),
            txt_ids=text_positions(0, backbone.device),
            img_ids=places,
            return_dict=False,
        )
    return recorded
