"""FLUX.1: a transformer over text tokens and 2 x 2 patches of latents, rectified flow, guidance as an input.

Latents are (channels, h, w) everywhere but in the call of the model, which packs them. Text tokens all have position 0,
so those that a technique appends (Redux) may stand in any order. Padding of the text is attended to, as in training.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle
from transformers import PreTrainedTokenizerBase

from model_store.catalogue.entry import Base
from workers.engine.backbones.flow_matching import FlowMatching
from workers.engine.backbones.pipeline import PipelineBackbone
from workers.engine.conditioning import Condition
from workers.engine.denoise import DenoiserCall
from workers.engine.memory import Estimate

PATCH = 2
TEXT_TOKENS = 512
TEXT_TOKENS_UNGUIDED = 256
"""The length of T5's text that schnell was distilled with."""
DEFAULT_GUIDANCE = 3.5
REFERENCE_TOKENS = 4 * 729
"""The most that a technique appends to the text: Redux' tokens of four references."""
SHIFT = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
"""What the schedule's configuration says of the shift by size, as `calculate_shift` takes it."""
MAPS = 24
LAYOUTS = 8
"""How many layouts of tokens the positions are kept of."""
TEXT, POOLED, GUIDANCE, CHANNELS = "text", "pooled", "guidance", "channels"


def pack(latents: Tensor) -> Tensor:
    """Return latents (n, c, h, w) as tokens (n, h/2 * w/2, 4 c): per patch channel, row in it, column in it."""
    return pixel_unshuffle(latents, PATCH).flatten(2).transpose(1, 2)


def unpack(tokens: Tensor, h: int, w: int) -> Tensor:
    """Return tokens (n, h/2 * w/2, 4 c) as latents (n, c, h, w)."""
    return pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (h // PATCH, w // PATCH)), PATCH)


@lru_cache(maxsize=LAYOUTS)
def text_positions(tokens: int, device: torch.device) -> Tensor:
    """Return (tokens, 3) positions of text: zeros. Not to be written to: calls share them."""
    return torch.zeros(tokens, 3, device=device)


@lru_cache(maxsize=LAYOUTS)
def positions(h: int, w: int, device: torch.device) -> Tensor:
    """Return (h/2 * w/2, 3) positions of the patches of latents h x w: (0, row, column). Not to be written to."""
    rows, columns = torch.meshgrid(
        torch.arange(h // PATCH, device=device), torch.arange(w // PATCH, device=device), indexing="ij"
    )
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1).float()


def with_tokens(condition: Condition, tokens: Tensor) -> Condition:
    """Return a condition with tokens (tokens, width), as wide as T5's, after the text of each row."""
    appended = tokens.to(condition.text).expand(condition.rows, -1, -1)
    return replace(condition, text=torch.cat([condition.text, appended], dim=1))


def with_channels(condition: Condition, latents: Tensor) -> Condition:
    """Return a condition with further latents (n or 1, c, h, w) that the model reads beside those it denoises."""
    read = latents.to(condition.text).expand(condition.rows, -1, -1, -1)
    return replace(condition, added={**condition.added, CHANNELS: read})


class CachedRotary(nn.Module):
    """The model's rotary embedding, its tables of the last layout of tokens kept: they are the same at every step.

    `layout` names what the next call is for and is used up by it; without one the model's own code runs.
    """

    def __init__(self, own: nn.Module) -> None:
        super().__init__()
        self.own = own
        self.layout: Hashable = None
        self._last: tuple[Hashable, Any] | None = None

    def forward(self, ids: Tensor) -> Any:
        """Return the tables of cosines and sines (tokens, width of a head) for positions (tokens, axes)."""
        layout, self.layout = self.layout, None
        if layout is None:
            return self.own(ids)
        if self._last is None or self._last[0] != layout:
            with torch.inference_mode(mode=False), torch.no_grad():  # usable where gradients are wanted, too
                self._last = layout, self.own(ids)
        return self._last[1]


class Flux(PipelineBackbone):
    """FLUX.1 dev, schnell, Fill, Canny or Depth: they differ in the channels they read and whether guidance is one."""

    loras_as_branches = True

    def __init__(self, pipe: Any, *, name: str, base: Base, fingerprint: str, dtype: torch.dtype) -> None:
        super().__init__(pipe, name=name, base=base, fingerprint=fingerprint, dtype=dtype)
        self._rotary = CachedRotary(pipe.transformer.pos_embed)
        pipe.transformer.pos_embed = self._rotary

    @property
    def denoiser(self) -> Any:
        """The diffusers FluxTransformer2DModel."""
        return self.pipe.transformer

    @property
    def size_multiple(self) -> int:
        """What width and height of a picture must be multiples of: a patch of latent cells."""
        return self.vae_factor * PATCH

    @property
    def embeds_guidance(self) -> bool:
        """Whether the model takes guidance as a number; schnell takes none."""
        return bool(self.denoiser.config.guidance_embeds)

    @property
    def text_tokens(self) -> int:
        """The length of the text that the model was made for, padding included."""
        return TEXT_TOKENS if self.embeds_guidance else TEXT_TOKENS_UNGUIDED

    def condition(
        self,
        prompts: Sequence[str],
        negative_prompt: str | None,
        *,
        guided: bool,
        width: int,
        height: int,
        embedded_guidance: float | None = None,
        text_tokens: int | None = None,
    ) -> tuple[Condition, Condition | None]:
        """Return the conditional half and, for true classifier-free guidance, the unconditional one.

        `embedded_guidance` is the number that dev-like models take; `text_tokens` the length of T5's text, padding
        included.
        """
        length = text_tokens or self.text_tokens
        positive = self._encode(prompts, embedded_guidance, length)
        if not guided:
            return positive, None
        return positive, self._encode([negative_prompt or ""] * len(prompts), embedded_guidance, length)

    def _encode(self, prompts: Sequence[str], guidance: float | None, length: int) -> Condition:
        rows = self.encode_prompts(prompts, length, self._encode_prompt)
        added = {POOLED: torch.cat([row[POOLED] for row in rows])}
        if self.embeds_guidance:
            scale = DEFAULT_GUIDANCE if guidance is None else guidance
            added[GUIDANCE] = torch.full((len(prompts),), scale, device=self.device)
        return Condition(torch.cat([row[TEXT] for row in rows]), added)

    @torch.no_grad()
    def _encode_prompt(self, prompt: str, length: int) -> dict[str, Tensor]:
        """Return T5's states (1, length, width) and CLIP's pooled one (1, width) of a prompt."""
        text, pooled, _ = self.pipe.encode_prompt(
            prompt=[prompt], prompt_2=None, device=self.encoder_device, max_sequence_length=length
        )
        return {TEXT: text.to(self.device, self.dtype), POOLED: pooled.to(self.device, self.dtype)}

    def readers(self, most: int | None = None) -> list[tuple[PreTrainedTokenizerBase, int]]:
        """Return T5's tokenizer alone: CLIP's vector is of the first 77 tokens, whatever follows."""
        return [(self.components["tokenizer_2"], most or self.text_tokens)]

    def build_scheduler(
        self,
        sampler: str,
        steps: int,
        *,
        width: int,
        height: int,
        config: Mapping[str, Any] | None = None,
        strength: float = 1.0,
    ) -> FlowMatching:
        """Return the flow's schedule at a size; `strength` is how much of it is run. There is one sampler: Euler's."""
        tokens = (width // self.size_multiple) * (height // self.size_multiple)
        config = config or self.scheduler_config
        shape = [config[name] for name in SHIFT]
        return FlowMatching(config, steps, calculate_shift(tokens, *shape), strength)

    def predict(self, call: DenoiserCall) -> Tensor:
        """Return the velocity v (rows, channels, h, w)."""
        n, _, h, w = call.sample.shape
        text, added = call.condition.text, call.condition.added
        read = torch.cat([call.sample, added[CHANNELS]], dim=1) if CHANNELS in added else call.sample
        self._rotary.layout = text.shape[1], h, w, text.device
        predicted: Tensor = self.denoiser(
            hidden_states=pack(read),
            timestep=(call.timestep.to(call.sample) / 1000).expand(n),
            encoder_hidden_states=text,
            pooled_projections=added[POOLED],
            guidance=added.get(GUIDANCE),
            txt_ids=text_positions(text.shape[1], text.device),
            img_ids=positions(h, w, text.device),
            return_dict=False,
            **call.inputs,
        )[0]
        return unpack(predicted, h, w)

    def estimate_memory(self, *, rows: int, width: int, height: int) -> Estimate:
        """Return a cautious estimate: maps of the model's width over all tokens, and the VAE's decoder.

        A single block holds its input, its norm, queries, keys, values and an MLP four times as wide, twice.
        """
        config = self.denoiser.config
        inner = config.num_attention_heads * config.attention_head_dim
        tokens = (width // self.size_multiple) * (height // self.size_multiple)
        tokens += self.text_tokens + REFERENCE_TOKENS
        return Estimate(rows * tokens * inner * self.dtype.itemsize * MAPS, self.decode_memory(width, height))
