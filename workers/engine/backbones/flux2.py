"""FLUX.2 [klein]: one transformer over text, the picture and reference pictures; text states are of inner Qwen3 layers.

Latents are (128, h/16, w/16): 2 x 2 patches of the VAE's 32 channels, normalised by the statistics of its batch norm.
Positions have four axes: which picture (0 the one that is made, then 10, 20, ...), row, column, place in the text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from workers.engine.backbones.flow_matching import FlowMatching
from workers.engine.backbones.pipeline import PipelineBackbone
from workers.engine.conditioning import Condition
from workers.engine.denoise import DenoiserCall
from workers.engine.memory import Estimate

PATCH = 2
TEXT_TOKENS = 512
TEXT_LAYERS = (9, 18, 27)
BETWEEN_REFERENCES = 10
"""How far the positions of a reference picture are from those of the one before."""
TEXT, REFERENCES, REFERENCE_POSITIONS = "text", "references", "reference_positions"
MAPS = 24
LAYOUTS = 16
"""How many layouts of tokens the positions are kept of; nobody writes to them."""
REFERENCE_TOKENS = 2 * 4096
"""Tokens of reference pictures that the estimate of memory reckons with: two of 1024 x 1024."""


def pack(latents: Tensor) -> Tensor:
    """Return latents (n, 128, h, w) as tokens (n, h * w, 128), row by row."""
    return latents.flatten(2).transpose(1, 2)


def positions(latents: Tensor, picture: int = 0) -> Tensor:
    """Return (h * w, 4) positions of the tokens of latents (n, 128, h, w): (picture, row, column, 0)."""
    _, _, h, w = latents.shape
    return _grid(picture, h, w, latents.device)


@lru_cache(maxsize=LAYOUTS)
def _grid(picture: int, h: int, w: int, device: torch.device) -> Tensor:
    axes = torch.tensor([picture]), torch.arange(h), torch.arange(w), torch.arange(1)
    return torch.cartesian_prod(*axes).to(device)


@lru_cache(maxsize=LAYOUTS)
def text_positions(tokens: int, device: torch.device) -> Tensor:
    """Return (tokens, 4) positions of text: (0, 0, 0, place)."""
    return torch.nn.functional.pad(torch.arange(tokens, device=device)[:, None], (3, 0))


def reference_tokens(latents: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return reference pictures' latents (1, 128, h, w) as tokens (1, tokens, 128) and their positions (tokens, 4)."""
    tokens = torch.cat([pack(each) for each in latents], dim=1)
    offsets = [BETWEEN_REFERENCES * (i + 1) for i in range(len(latents))]
    places = [positions(each, picture) for each, picture in zip(latents, offsets, strict=True)]
    return tokens, torch.cat(places)


def with_references(condition: Condition, latents: Sequence[Tensor]) -> Condition:
    """Return a condition with reference pictures, latents (1, 128, h, w) each, for every row; their order counts."""
    if not latents:
        return condition
    tokens, places = reference_tokens(latents)
    read = {
        REFERENCES: tokens.to(condition.text).expand(condition.rows, -1, -1),
        REFERENCE_POSITIONS: places.to(condition.text.device).expand(condition.rows, -1, -1),
    }
    return replace(condition, added={**condition.added, **read})


class Flux2(PipelineBackbone):
    """FLUX.2 [klein] 4B or 9B: `flux2-klein` distilled, `flux2-klein-base` with true classifier-free guidance."""

    loras_as_branches = True
    caches_references = False
    """Whether the weights were trained for references that attend to references alone, so that their keys are kept."""

    @property
    def denoiser(self) -> Any:
        """The diffusers Flux2Transformer2DModel."""
        return self.pipe.transformer

    @property
    def latent_channels(self) -> int:
        """Channels of a latent: a patch of the VAE's."""
        return super().latent_channels * PATCH**2

    @property
    def vae_factor(self) -> int:
        """Pixels per latent cell along a side: a patch of the VAE's cells."""
        return super().vae_factor * PATCH

    @property
    def size_multiple(self) -> int:
        """What width and height of a picture must be multiples of: a latent cell."""
        return self.vae_factor

    @property
    def distilled(self) -> bool:
        """Whether it runs in few steps, without guidance."""
        return self.base == "flux2-klein"

    def unread(self, text: str, most: int | None = None) -> dict[str, int]:
        """Return the end of a text that stands behind what is read of it, with the number of tokens it takes."""
        tokenizer = self.pipe.tokenizer
        frame = tokenizer.apply_chat_template(
            [{"role": "user", "content": ""}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        room = (most or TEXT_TOKENS) - len(tokenizer(frame, add_special_tokens=False).input_ids)
        tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        rest = text[tokens.offset_mapping[room][0] :].strip() if len(tokens.input_ids) > room else ""
        return {rest: room} if rest else {}

    def condition(
        self,
        prompts: Sequence[str],
        negative_prompt: str | None,
        *,
        guided: bool,
        width: int,
        height: int,
        text_tokens: int = TEXT_TOKENS,
    ) -> tuple[Condition, Condition | None]:
        """Return the conditional half and, when guided, the unconditional one: the empty prompt's where none is given.

        `text_tokens` is the length of the text, template and padding included.
        """
        positive = self._encode(prompts, text_tokens)
        return positive, self._encode([negative_prompt or ""] * len(prompts), text_tokens) if guided else None

    def _encode(self, prompts: Sequence[str], length: int) -> Condition:
        rows = self.encode_prompts(prompts, length, self._encode_prompt)
        return Condition(torch.cat([row[TEXT] for row in rows]))

    @torch.no_grad()
    def _encode_prompt(self, prompt: str, length: int) -> dict[str, Tensor]:
        """Return Qwen3's states (1, length, width) of a prompt."""
        text, _ = self.pipe.encode_prompt(
            prompt, device=self.encoder_device, max_sequence_length=length, text_encoder_out_layers=TEXT_LAYERS
        )
        return {TEXT: text.to(self.device, self.dtype)}

    def build_scheduler(
        self, sampler: str, steps: int, *, width: int, height: int, config: Mapping[str, Any] | None = None
    ) -> FlowMatching:
        """Return the flow's schedule at a size and number of steps. There is one sampler: Euler's."""
        tokens = (width // self.vae_factor) * (height // self.vae_factor)
        return FlowMatching(config or self.scheduler_config, steps, compute_empirical_mu(tokens, steps))

    def predict(self, call: DenoiserCall) -> Tensor:
        """Return the velocity v (rows, 128, h, w); the tokens of references stand behind the picture's."""
        n, _, h, w = call.sample.shape
        text, added = call.condition.text, call.condition.added
        tokens, places = pack(call.sample), positions(call.sample)
        if REFERENCES in added:
            tokens = torch.cat([tokens, added[REFERENCES]], dim=1)
            places = torch.cat([places, added[REFERENCE_POSITIONS][0]])
        predicted: Tensor = self.denoiser(
            hidden_states=tokens,
            timestep=(call.timestep.to(call.sample) / 1000).expand(n),
            encoder_hidden_states=text,
            txt_ids=text_positions(text.shape[1], text.device),
            img_ids=places,
            return_dict=False,
            **call.inputs,
        )[0]
        return predicted[:, : h * w].transpose(1, 2).unflatten(2, (h, w))

    def scaled(self, latents: Tensor) -> Tensor:
        """Return what the VAE encodes (n, 32, 2 h, 2 w) as latents (n, 128, h, w) of the norm's unit scale."""
        mean, deviation = self._statistics(latents)
        return (pixel_unshuffle(latents, PATCH) - mean) / deviation

    def unscaled(self, latents: Tensor) -> Tensor:
        """Return latents (n, 128, h, w) as what the VAE decodes (n, 32, 2 h, 2 w)."""
        mean, deviation = self._statistics(latents)
        return pixel_shuffle(latents * deviation + mean, PATCH)

    def preview_cells(self, latents: Tensor) -> Tensor:
        """Return the VAE's own cells, four to a latent's."""
        return self.unscaled(latents)

    def _statistics(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        norm = self.vae.bn
        mean, variance = (each.to(latents).view(1, -1, 1, 1) for each in (norm.running_mean, norm.running_var))
        return mean, (variance + self.vae.config.batch_norm_eps).sqrt()

    def estimate_memory(self, *, rows: int, width: int, height: int) -> Estimate:
        """Return a cautious estimate: maps of the model's width over all tokens, and the VAE's decoder."""
        config = self.denoiser.config
        inner = config.num_attention_heads * config.attention_head_dim
        tokens = (width // self.vae_factor) * (height // self.vae_factor) + TEXT_TOKENS + REFERENCE_TOKENS
        return Estimate(rows * tokens * inner * self.dtype.itemsize * MAPS, self.decode_memory(width, height))


class Flux2KV(Flux2):
    """FLUX.2 [klein] 9b-kv, trained for references whose keys and values are computed once."""

    caches_references = True
