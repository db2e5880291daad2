"""The tile ControlNet on the frozen UNet: hold the content of a picture that may have another style."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.training.starter.lesson import Lesson, load_lesson
from workers.training.starter.networks.controlnet import FACTORS, build_controlnet, residuals, tiles
from workers.training.starter.networks.patch_code import as_tensor
from workers.training.starter.networks.unet import attend_for_training
from workers.training.starter.sample import load_unet
from workers.training.starter.stages.fitting import fit
from workers.training.starter.workspace import Workspace

ANOTHER_STYLE = 0.7
"""Share of steps' pictures that are shown in another style than that to be drawn."""


def train_controlnet(space: Workspace) -> None:
    """Noise prediction with the content picture, the caption naming object and style, either dropped at times."""
    stage, seed = space.recipe.controlnet, space.recipe.seed
    torch.manual_seed(seed)
    unet, _ = load_unet(space)
    net = build_controlnet(unet)
    attend_for_training(unet)
    attend_for_training(net)
    lesson = load_lesson(space)

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([seed, step])
        chosen = lesson.chosen(rng, stage.batch)
        image = content_tiles(lesson, chosen, rng.uniform(size=stage.batch) < ANOTHER_STYLE, rng)
        captions = [lesson.captioner.caption(lesson.pictures.specs[index], rng) for index in chosen]
        text, noised = lesson.captioner.encode(captions), lesson.noised(chosen, step)
        more = residuals(net, noised.latents, noised.t, text, image)
        return noised.loss(unet(noised.latents, noised.t, encoder_hidden_states=text, **more).sample)

    fit(space, "controlnet", stage, net, loss)


def content_tiles(
    lesson: Lesson, chosen: NDArray[np.int64], other: NDArray[np.bool_], rng: np.random.Generator
) -> Tensor:
    """(n, 3, 128, 128) in [0, 1]: the pictures, or where `other` their contents in another style, as tiles."""
    shown = np.where(other[:, None, None, None], lesson.others[chosen], lesson.pictures.images[chosen])
    factors = torch.from_numpy(rng.choice(FACTORS, len(chosen)))
    return tiles((as_tensor(shown) + 1) / 2, factors).to(lesson.space.device)
