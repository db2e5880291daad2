"""The denoiser: objects in the flat style first, then all styles, on frozen text."""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from workers.training.starter.average import Average
from workers.training.starter.networks.captioner import Captioner
from workers.training.starter.networks.patch_code import encode_all
from workers.training.starter.networks.unet import attend_for_training, build_scheduler, build_unet
from workers.training.starter.workspace import (
    Workspace,
    half_precision,
    learning_rate,
    placed,
    set_learning_rate,
    steps,
)
from workers.training.starter.world.picture import PictureSpec

SAVE_EVERY = 250
MIN_SNR = 5.0  # Hang et al. 2023, gamma
MOST_WEIGHT = 4.0


@dataclass(frozen=True)
class UNetLesson:
    """Latents (n, 8, 16, 16) and what each shows."""

    latents: Tensor
    specs: list[PictureSpec]
    batch: int


def noised(latents: Tensor, alphas: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Noisy latents, noise, timesteps and loss weights, the randomness drawn on the CPU.

    The weight on the error of the noise is min-SNR's above SNR 5; towards high noise, where objects take shape, it
    follows the velocity loss (1 + 1/SNR) up to a bound."""
    t = torch.randint(0, len(alphas), (len(latents),), generator=generator)
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    alpha = alphas[t].to(latents.device)
    snr = alpha / (1 - alpha)
    a = alpha[:, None, None, None]
    weight = (snr.clamp(max=MIN_SNR) / snr) * (1 + 1 / snr).clamp(max=MOST_WEIGHT)
    return a.sqrt() * latents + (1 - a).sqrt() * noise, noise, t.to(latents.device), weight


def train_unet(space: Workspace, stop: int | None = None) -> None:
    """Train to the end of the recipe's schedule, or to `stop` steps."""
    recipe, device = space.recipe, space.device
    torch.manual_seed(recipe.seed)
    unet = placed(build_unet(recipe.unet_widths), device)
    attend_for_training(unet)
    average = Average(unet, 0.9985)
    optimizer = torch.optim.AdamW(unet.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    first = 0
    if (state := space.load("unet")) is not None:
        unet.load_state_dict(state["model"])
        average.load(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"])
    captioner = Captioner(recipe, device)
    alphas = build_scheduler().alphas_cumprod
    total = recipe.unet_flat.steps + recipe.unet.steps
    lesson, losses = None, []
    for step, bar in steps(first, min(total, stop or total), "unet"):
        flat = step < recipe.unet_flat.steps
        if lesson is None or step == recipe.unet_flat.steps:
            lesson = _lesson(space, flat=flat)
        local = step if flat else step - recipe.unet_flat.steps
        rate = learning_rate(recipe.unet_flat, local, decay=0) if flat else learning_rate(recipe.unet, local)
        set_learning_rate(optimizer, rate)
        losses.append(_step(unet, lesson, captioner, alphas, np.random.default_rng([recipe.seed, step])))
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(unet, step)
        if (step + 1) % 50 == 0:
            bar.set_postfix(loss=f"{float(torch.stack(losses[-50:]).mean()):.4f}")
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == total:
            model, weights = unet.state_dict(), average.weights
            state = {"model": model, "average": weights, "optimizer": optimizer.state_dict(), "step": step + 1}
            space.save("unet", state)


def _lesson(space: Workspace, *, flat: bool) -> UNetLesson:
    code = space.patch_code()
    pictures = space.pictures(space.flat_portion() if flat else space.training_portion())
    batch = space.recipe.unet_flat.batch if flat else space.recipe.unet.batch
    return UNetLesson(encode_all(code, pictures.images), pictures.specs, batch)


def _step(
    unet: UNet2DConditionModel, lesson: UNetLesson, captioner: Captioner, alphas: Tensor, rng: np.random.Generator
) -> Tensor:
    chosen = rng.integers(0, len(lesson.specs), lesson.batch)
    captions = [captioner.caption(lesson.specs[index], rng) for index in chosen]
    device = captioner.encoder.device
    latents = lesson.latents[torch.from_numpy(chosen)].to(device, memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    noisy, noise, t, weight = noised(latents, alphas, generator)
    with half_precision(device):
        predicted = unet(noisy, t, encoder_hidden_states=captioner.encode(captions)).sample
    loss = (weight * (predicted.float() - noise).square().mean(dim=(1, 2, 3))).mean()
    loss.backward()
    return loss.detach()
