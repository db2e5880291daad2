"""Stable Diffusion 1.5 and SDXL: a UNet on latents, told text by cross-attention, on diffusers' pipelines."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from workers.engine import schedulers
from workers.engine.backbones.pipeline import PipelineBackbone
from workers.engine.conditioning import Condition
from workers.engine.denoise import DenoiserCall
from workers.engine.memory import Estimate
from workers.engine.schedulers import Scheduler

UNET_MAPS = 60


def unet_inputs(condition: Condition) -> dict[str, Any]:
    """Return a condition as keyword arguments of a UNet or ControlNet."""
    return {"encoder_hidden_states": condition.text, "added_cond_kwargs": dict(condition.added) or None}


def with_time_ids(condition: Condition, ids: Sequence[int]) -> Condition:
    """Return a condition with other time ids than (height, width, 0, 0, height, width), where the model has any."""
    if "time_ids" not in condition.added:
        return condition
    return replace(condition, added={**condition.added, "time_ids": _time_ids(ids, condition.text)})


def _time_ids(ids: Sequence[int], rows: Tensor) -> Tensor:
    return torch.tensor([list(ids)], dtype=torch.float32, device=rows.device).expand(len(rows), -1)


class StableDiffusion(PipelineBackbone):
    """A Stable Diffusion 1.5 or SDXL model."""

    @property
    def denoiser(self) -> Any:
        """The diffusers UNet2DConditionModel."""
        return self.pipe.unet

    @property
    def size_multiple(self) -> int:
        """What width and height of a picture must be multiples of: one latent cell."""
        return self.vae_factor

    @torch.no_grad()
    def condition(
        self,
        prompts: Sequence[str],
        negative_prompt: str | None,
        *,
        guided: bool,
        width: int,
        height: int,
    ) -> tuple[Condition, Condition | None]:
        """Return the conditional and, when guided, the unconditional half for prompts (one per picture).

        Text goes through the pipeline's own encode_prompt; `negative_prompt=None` means none was given (zeros on
        SDXL, the encoded empty text on SD1.5).
        """
        distinct = list(dict.fromkeys(prompts))
        order = torch.tensor([distinct.index(prompt) for prompt in prompts], device=self.device)
        negatives = None if negative_prompt is None else [negative_prompt] * len(distinct)
        encoded = self.pipe.encode_prompt(
            prompt=distinct,
            device=self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            negative_prompt=negatives,
        )
        text, negative_text, pooled, negative_pooled = (*encoded, None, None)[:4]
        ids = height, width, 0, 0, height, width
        positive = Condition(text[order], self._added(pooled, order, ids))
        if not guided:
            return positive, None
        return positive, Condition(negative_text[order], self._added(negative_pooled, order, ids))

    def _added(self, pooled: Tensor | None, order: Tensor, ids: Sequence[int]) -> dict[str, Tensor]:
        """Return what SDXL reads beside the text; nothing for SD1.5, which has no pooled text."""
        if pooled is None:
            return {}
        return {"text_embeds": pooled[order], "time_ids": _time_ids(ids, pooled[order])}

    def build_scheduler(
        self, sampler: str, steps: int, *, width: int, height: int, config: Mapping[str, Any] | None = None
    ) -> Scheduler:
        """Return a scheduler of diffusers with its timesteps set, which here do not depend on the size."""
        scheduler: Scheduler = schedulers.build(sampler, config or self.scheduler_config, steps)
        return scheduler

    def predict(self, call: DenoiserCall) -> Tensor:
        """Return what the UNet predicts (rows, channels, h, w)."""
        inputs = unet_inputs(call.condition) | call.inputs
        predicted: Tensor = self.denoiser(call.sample, call.timestep, **inputs, return_dict=False)[0]
        return predicted

    def estimate_memory(self, *, rows: int, width: int, height: int) -> Estimate:
        """Return a cautious estimate for `rows` UNet rows of one size; one picture is decoded at a time.

        Counted in feature maps of the UNet's first level, and of the VAE decoder's widest level at picture size in
        float32. Measured: 43 and 4 to 5 of them (Stable Diffusion's shapes, 512 and 768 pixels).
        """
        cells = (width // self.vae_factor) * (height // self.vae_factor)
        first_level = self.denoiser.config.block_out_channels[0] * cells * self.denoiser.dtype.itemsize
        return Estimate(rows * first_level * UNET_MAPS, self.decode_memory(width, height))
