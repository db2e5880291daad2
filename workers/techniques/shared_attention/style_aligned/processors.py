"""What takes the place of the UNet's self-attentions and GroupNorms: sharing with a reference, or recording one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from workers.techniques.shared_attention.style_aligned import math
from workers.techniques.shared_attention.style_aligned.features import Recording
from workers.techniques.shared_attention.style_aligned.options import Options
from workers.techniques.shared_attention.style_aligned.reference_rows import ReferenceRows

Forward = Callable[[nn.Module], Callable[[Tensor], Tensor]]


class SharedAttention:
    """Self-attention whose rows take their reference's statistics and attend to its keys and values, too."""

    def __init__(self, layer: str, reference_rows: ReferenceRows, options: Options) -> None:
        self._layer = layer
        self._reference_rows = reference_rows
        self._options = options

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the layer's output for tokens (rows, N, C)."""
        q, k, v = attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)
        if self._options.adain_queries:
            q = self._aligned(q, "q")
        if self._options.adain_keys:
            k = self._aligned(k, "k")
        if self._options.adain_values:
            v = self._aligned(v, "v")
        if not self._options.share_attention:
            return _finished(attn, math.attention(q, k, v, attn.heads, None))
        tokens = k.shape[1]
        k, v = (
            self._reference_rows.concat_reference(k, f"{self._layer}.k"),
            self._reference_rows.concat_reference(v, f"{self._layer}.v"),
        )
        if self._reference_rows.scaled:
            k[:, tokens:] *= self._reference_rows.scales.to(k.dtype)
        return _finished(attn, math.attention(q, k, v, attn.heads, self._reference_rows.bias(tokens, q.dtype)))

    def _aligned(self, x: Tensor, name: str) -> Tensor:
        m, s = math.statistics(x)
        m_r = self._reference_rows.reference(f"{self._layer}.{name}_mean", m)
        s_r = self._reference_rows.reference(f"{self._layer}.{name}_std", s)
        return math.adain(x, m, s, m_r, s_r, self._reference_rows.w)


class FullAttention:
    """Self-attention over all pictures of a request and their reference, which are rows of the same call."""

    def __init__(self, reference_rows: ReferenceRows) -> None:
        self._reference_rows = reference_rows

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the layer's output for tokens (rows, N, C)."""
        q, k, v = attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)
        attended = torch.empty_like(q)
        for part in self._reference_rows.parts:
            if not part.own:
                rows = [*range(part.rows.start, part.rows.stop), part.lead]
                K, V = (x[rows].reshape(1, -1, x.shape[2]).expand(len(rows), -1, -1) for x in (k, v))
                bias = _to_others(len(rows), k.shape[1], part.shift, q)
                attended[rows] = math.attention(q[rows], K, V, attn.heads, bias)
        return _finished(attn, attended)


class RecordingAttention:
    """Plain self-attention that leaves its features in a recording."""

    def __init__(self, layer: str, recording: Recording, options: Options) -> None:
        self._layer = layer
        self._recording = recording
        self._keeps_tokens = options.keeps_tokens

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the layer's output for tokens (halves, N, C)."""
        q, k, v = attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)
        for name, x in (("q", q), ("k", k), ("v", v)):
            m, s = math.statistics(x)
            self._recording.put(f"{self._layer}.{name}_mean", m)
            self._recording.put(f"{self._layer}.{name}_std", s)
        if self._keeps_tokens:
            self._recording.put(f"{self._layer}.k", k)
            self._recording.put(f"{self._layer}.v", v)
        return _finished(attn, math.attention(q, k, v, attn.heads, None))


def shared_norm(names: dict[nn.Module, str], reference_rows: ReferenceRows) -> Forward:
    """Return what makes GroupNorm's forward pool each row's moments with its reference's."""

    def replacement(norm: nn.Module) -> Callable[[Tensor], Tensor]:
        assert isinstance(norm, nn.GroupNorm)

        def forward(x: Tensor) -> Tensor:
            mu, var = math.moments(x, norm.num_groups)
            mu_r = reference_rows.reference(f"{names[norm]}.mean", mu)
            var_r = reference_rows.reference(f"{names[norm]}.var", var)
            mu, var = math.mixed_moments(mu, var, mu_r, var_r, reference_rows.w[:, 0])
            return math.normalised(x, mu, var, norm.weight, norm.bias, norm.eps)

        return forward

    return replacement


def recording_norm(names: dict[nn.Module, str], recording: Recording) -> Forward:
    """Return what makes GroupNorm's forward leave its moments in a recording."""

    def replacement(norm: nn.Module) -> Callable[[Tensor], Tensor]:
        assert isinstance(norm, nn.GroupNorm)

        def forward(x: Tensor) -> Tensor:
            mu, var = math.moments(x, norm.num_groups)
            recording.put(f"{names[norm]}.mean", mu)
            recording.put(f"{names[norm]}.var", var)
            return nn.GroupNorm.forward(norm, x)

        return forward

    return replacement


def group_norms(unet: nn.Module) -> dict[nn.Module, str]:
    """Return every GroupNorm of the UNet with its name."""
    return {module: name for name, module in unet.named_modules() if isinstance(module, nn.GroupNorm)}


def _finished(attn: Any, attended: Tensor) -> Tensor:
    """Return the output projection and dropout of an attention layer."""
    return attn.to_out[1](attn.to_out[0](attended))


def _to_others(rows: int, tokens: int, shift: float, like: Tensor) -> Tensor | None:
    """Return the bias (rows, 1, 1, rows * N) on every column that is another row's."""
    if not shift:
        return None
    bias = (1 - torch.eye(rows)) * shift
    return bias.repeat_interleave(tokens, dim=1).to(like.device, like.dtype)[:, None, None]
