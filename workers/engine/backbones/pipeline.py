"""A base model whose parts are those of a diffusers pipeline, with an AutoencoderKL between pictures and latents."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model_store.catalogue.entry import Base
from workers.engine.backbones.base import Backbone
from workers.engine.cache.prompt_cache import PromptCache
from workers.engine.cache.tiers import Tensors

DECODE_MAPS = 6
PROMPT_BYTES = 128 << 20
"""What is kept of prompts: FLUX.1's take 4 MB each of 512 tokens in half precision, klein's 8 MB."""


class PipelineBackbone(Backbone):
    """Parts of a diffusers pipeline.

    The VAE stays in float32, because style latents must be exact, and decodes under autocast where `dtype` is bfloat16.
    """

    def __init__(self, pipe: Any, *, name: str, base: Base, fingerprint: str, dtype: torch.dtype) -> None:
        super().__init__(
            name=name, base=base, fingerprint=fingerprint, dtype=dtype, scheduler_config=dict(pipe.scheduler.config)
        )
        self.pipe = pipe

    @property
    def vae(self) -> Any:
        """The diffusers AutoencoderKL, float32."""
        return self.pipe.vae

    @property
    def components(self) -> Mapping[str, Any]:
        """Models and tokenizers by the names they have in the diffusers pipeline."""
        components: Mapping[str, Any] = self.pipe.components
        return components

    @property
    def folder(self) -> Path | None:
        """The diffusers folder it was loaded from, which may hold adapters of its own."""
        origin = self.pipe.name_or_path
        return Path(origin) if origin else None

    @property
    def latent_channels(self) -> int:
        """Channels of a latent: the VAE's."""
        return int(self.vae.config.latent_channels)

    @property
    def vae_factor(self) -> int:
        """Pixels per latent cell along a side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def encode_prompts(
        self, prompts: Sequence[str], length: int, encode: Callable[[str, int], Tensors]
    ) -> list[Tensors]:
        """Return what the text encoders make of each prompt in `length` tokens, kept; `encode` does it for one."""
        kept: PromptCache = self.get_or_load("prompts", lambda: PromptCache(PROMPT_BYTES, self.device))
        key = self.fingerprint, str(self.dtype), length
        return [kept.get((*key, prompt), partial(encode, prompt, length)) for prompt in prompts]

    @torch.no_grad()
    def encode(self, signed: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the latents of one picture (1, 3, h, w) in -1..1, float32: (posterior mode - shift) * scaling factor.

        With a CPU `generator`, a sample of the posterior in place of its mode.
        """
        posterior = self.vae.encode(signed.to(self.device, torch.float32)).latent_dist
        return self.scaled(posterior.mode() if generator is None else posterior.sample(generator=generator))

    def scaled(self, latents: Tensor) -> Tensor:
        """Return what the VAE encodes as latents: (z - shift) * scaling factor."""
        shift = getattr(self.vae.config, "shift_factor", None) or 0.0
        return (latents - shift) * self.vae.config.scaling_factor

    def unscaled(self, latents: Tensor) -> Tensor:
        """Return latents, float32, as what the VAE decodes."""
        shift = getattr(self.vae.config, "shift_factor", None) or 0.0
        return latents / self.vae.config.scaling_factor + shift

    def decode(self, latents: Tensor) -> Tensor:
        """Return latents (n, channels, h, w) as pictures (n, 3, h, w) in about -1..1, float32; gradients pass."""
        unscaled = self.unscaled(latents.float())
        reduced = self.dtype is torch.bfloat16 and self.device.type == "cuda"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=reduced):
            return self.vae.decode(unscaled, return_dict=False)[0].float()

    def decode_memory(self, width: int, height: int) -> int:
        """Return a cautious estimate of the bytes of decoding one picture: maps of the widest level at its size."""
        return int(max(self.vae.config.block_out_channels[:2]) * width * height * 4 * DECODE_MAPS)
