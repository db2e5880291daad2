"""FLUX' joint attention with less of it for the tokens of a reference, which stand in the text.

Per reference one further channel: its own tokens attend to one another in full.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor
from torch.nn.functional import pad

from workers.engine.backbones import patches
from workers.engine.backbones.base import Backbone
from workers.engine.denoise import DenoiserCall, Hooks, Rows, Trajectory
from workers.techniques.joint_attention import bias_of, biased_attention, projected, separated


@dataclass(frozen=True)
class ReferenceTokens:
    """Where the references of a request stand in its text, and how much they are attended to, 0..1 each."""

    spans: tuple[slice, ...] = ()
    strengths: tuple[float, ...] = ()


@dataclass
class Channels:
    """The further channels of the present call, (rows, text tokens, references) each; None without any."""

    query: Tensor | None = None
    key: Tensor | None = None


class ReduxHooks(Hooks):
    """Lays out the channels of each call for the processors."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._rows: tuple[Rows, ...] = ()

    def before_predict(self, call: DenoiserCall) -> None:
        """Write down, for each row, which text tokens are of which reference and how strong it is, once for all steps
        with the same rows."""
        if call.rows == self._rows:
            return
        self._rows = call.rows
        rows, tokens, _ = call.condition.text.shape
        most = max(len(part.trajectory.extra.spans) for part in call.rows)
        query, key = torch.ones(rows, tokens, most), torch.zeros(rows, tokens, most)
        for part in call.rows:
            extra, own = part.trajectory.extra, slice(part.start, part.stop)
            for n, (span, strength) in enumerate(zip(extra.spans, extra.strengths, strict=True)):
                query[own, span, n] = 0.0
                key[own, span, n] = bias_of(strength if part.conditional else 0.0)
        device = call.sample.device
        self._channels.query, self._channels.key = query.to(device), key.to(device)


@contextmanager
def weakened(backbone: Backbone, trajectories: Sequence[Trajectory]) -> Iterator[Hooks]:
    """Let every layer attend to references as much as they say; nothing is changed where all count in full."""
    seen = [one for one in trajectories if one.extra.spans]
    if all(one.negative is None and set(one.extra.strengths) == {1.0} for one in seen):
        yield Hooks()
        return
    channels = Channels()
    processor = ReduxProcessor(channels)
    with patches.attention_processors(backbone.denoiser, dict.fromkeys(backbone.attention_layers, processor)):
        yield ReduxHooks(channels)


class ReduxProcessor:
    """FLUX' attention with the further channels; without any it is diffusers' own."""

    _attention_backend = None
    _parallel_config = None

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        """Return what diffusers\' processor returns: the image\'s states, and the text\'s in double blocks."""
        query, key, value = projected(attn, hidden_states, encoder_hidden_states)
        query, key = (apply_rotary_emb(each, image_rotary_emb, sequence_dim=1) for each in (query, key))
        mixed = biased_attention(
            query,
            key,
            value,
            *self._laid(query.shape[1]),
            attn_mask=attention_mask,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        joint = mixed.flatten(2, 3).to(query.dtype)
        if encoder_hidden_states is None:
            return joint
        return separated(attn, joint, encoder_hidden_states.shape[1])

    def _laid(self, tokens: int) -> tuple[Tensor, Tensor]:
        """Return the channels of all tokens: image tokens stand behind the text, attend to all references, are none."""
        query, key = self._channels.query, self._channels.key
        assert query is not None
        assert key is not None
        behind = (0, 0, 0, tokens - query.shape[1])
        return pad(query, behind, value=1.0), pad(key, behind)
