"""The decoder of the autoencoder; its encoder is written, not trained."""

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from workers.training.starter.average import Average
from workers.training.starter.networks.autoencoder import build_autoencoder
from workers.training.starter.networks.patch_code import PATCH, SCALING_FACTOR, PatchCode, as_tensor
from workers.training.starter.workspace import Workspace, learning_rate, placed, set_learning_rate, steps
from workers.training.starter.world.picture import SIZE

CROP = 64
LATENT_NOISE = 0.08
SAVE_EVERY = 100


def train_vae(space: Workspace) -> None:
    """Decode noisy codes of crops; loss L1 + 0.4 L1 of gradients + 2 MSE."""
    torch.manual_seed(space.recipe.seed)
    code, stage = space.patch_code(), space.recipe.vae
    vae = placed(build_autoencoder(code), space.device)
    trained = [parameter for parameter in vae.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, betas=(0.9, 0.99), fused=True)
    average, first = Average(vae, 0.995), 0
    if (state := space.load("vae")) is not None:
        vae.load_state_dict(state["model"])
        average.load(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"])
    images = space.pictures(space.training_portion()).images
    for step, bar in steps(first, stage.steps, "vae"):
        set_learning_rate(optimizer, learning_rate(stage, step, decay=0.5))
        crops = _crops(images, stage.batch, np.random.default_rng([space.recipe.seed, step])).to(space.device)
        loss = _loss(vae, code, crops, torch.Generator().manual_seed(step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(vae, step)
        bar.set_postfix(loss=f"{float(loss.detach()):.4f}", refresh=False)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == stage.steps:
            states = {"model": vae.state_dict(), "average": average.weights, "optimizer": optimizer.state_dict()}
            space.save("vae", states | {"step": step + 1})


def load_autoencoder(space: Workspace) -> AutoencoderKL:
    """The averaged weights of the latest checkpoint, in evaluation mode."""
    vae = build_autoencoder(space.patch_code())
    state = space.load("vae")
    if state is None:
        raise FileNotFoundError(f"train the vae stage first: {space.checkpoint_path('vae')}")
    vae.load_state_dict(state["average"])
    placed(vae, space.device).eval().requires_grad_(False)
    return vae


def _crops(images: np.ndarray, count: int, rng: np.random.Generator) -> Tensor:
    """(count, 3, 64, 64) in [-1, 1], corners on the patch grid."""
    corners = rng.integers(0, (SIZE - CROP) // PATCH + 1, (count, 2)) * PATCH
    chosen = rng.integers(0, len(images), count)
    return as_tensor(
        np.stack([images[i, y : y + CROP, x : x + CROP] for i, (y, x) in zip(chosen, corners, strict=True)])
    )


def _loss(vae: AutoencoderKL, code: PatchCode, crops: Tensor, generator: torch.Generator) -> Tensor:
    latents = code.encode(crops.cpu())
    latents = latents + LATENT_NOISE * torch.randn(latents.shape, generator=generator)
    latents = latents.to(crops.device, memory_format=torch.channels_last)
    difference = vae.decode(latents / SCALING_FACTOR).sample - crops
    along_x, along_y = difference.diff(dim=3), difference.diff(dim=2)
    gradient = along_x.abs().mean() + along_y.abs().mean()
    return difference.abs().mean() + 0.4 * gradient + 2 * difference.square().mean()
