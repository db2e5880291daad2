"""Plain text-to-image with weights that are still in training."""

from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from numpy.typing import NDArray
from torch import Tensor

from workers.training.starter.networks.captioner import Captioner
from workers.training.starter.networks.patch_code import CHANNELS, PATCH, SCALING_FACTOR
from workers.training.starter.networks.unet import build_scheduler, build_unet
from workers.training.starter.stages.vae import load_autoencoder
from workers.training.starter.workspace import Workspace, placed
from workers.training.starter.world.picture import SIZE


@torch.no_grad()
def denoise(
    unet: UNet2DConditionModel,
    text: Tensor,
    empty: Tensor,
    *,
    seeds: list[int],
    guidance: float = 4.0,
    count: int = 25,
    conditions: tuple[dict[str, Any], dict[str, Any]] | None = None,
) -> Tensor:
    """DDIM with classifier-free guidance from one seed per picture; scaled latents (n, 8, 16, 16).

    `text`, `empty` (n, 77, 128); `conditions`: further `added_cond_kwargs` with and without prompt."""
    scheduler: DDIMScheduler = build_scheduler()
    scheduler.set_timesteps(count)
    side = SIZE // PATCH
    noises = [torch.randn(CHANNELS, side, side, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    x = torch.stack(noises).to(text.device)
    with_prompt, without = conditions or (None, None)
    for t in scheduler.timesteps:
        positive = unet(x, t, encoder_hidden_states=text, added_cond_kwargs=with_prompt).sample
        negative = unet(x, t, encoder_hidden_states=empty, added_cond_kwargs=without).sample
        x = scheduler.step(negative + guidance * (positive - negative), t, x, return_dict=False)[0]
    return x


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: Tensor, batch: int = 32) -> NDArray[np.uint8]:
    """Scaled latents to (n, 128, 128, 3) uint8."""
    parts = [vae.decode(part / SCALING_FACTOR).sample for part in latents.split(batch)]
    pixels = (torch.cat(parts).clamp(-1, 1) + 1) * 127.5
    return pixels.round().byte().permute(0, 2, 3, 1).cpu().numpy()


def load_unet(space: Workspace) -> tuple[UNet2DConditionModel, int]:
    """The averaged weights of the latest checkpoint, and its step."""
    state = space.load("unet")
    if state is None:
        raise FileNotFoundError(f"train the unet stage first: {space.checkpoint_path('unet')}")
    unet = placed(build_unet(space.recipe.unet_widths), space.device)
    unet.load_state_dict(state["average"])
    unet.eval().requires_grad_(False)
    return unet, int(state["step"])


def sample(space: Workspace, prompts: list[str], first_seed: int = 0, batch: int = 32) -> NDArray[np.uint8]:
    """One picture per prompt, seeds counted from `first_seed`."""
    unet, _ = load_unet(space)
    vae, captioner = load_autoencoder(space), Captioner(space.recipe, space.device)
    latents = []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        seeds = list(range(first_seed + start, first_seed + start + len(part)))
        latents.append(denoise(unet, captioner.encode(part), captioner.encode([""] * len(part)), seeds=seeds))
    return decode(vae, torch.cat(latents))
