"""CSGO's scheme on exact triples: a content picture, a style picture, and that content drawn in that style."""

import numpy as np
import torch
from torch import Tensor

from workers.training.starter.lesson import load_lesson
from workers.training.starter.networks import csgo
from workers.training.starter.networks.controlnet import build_controlnet, residuals
from workers.training.starter.networks.unet import attend_for_training
from workers.training.starter.sample import load_unet
from workers.training.starter.stages.controlnet import content_tiles
from workers.training.starter.stages.fitting import fit, restore, trained_state
from workers.training.starter.workspace import Workspace
from workers.training.starter.world.captions import caption

NO_IMAGE, NO_CONTENT_TOKENS = 0.1, 0.5
"""Shares of pictures without either reference, and of steps without content tokens, as the authors' code draws."""
LEAST_SCALE = 0.4


def train_csgo(space: Workspace) -> None:
    """Noise prediction on frozen UNet and tile ControlNet; the caption names the object and never the style."""
    stage, seed = space.recipe.csgo, space.recipe.seed
    torch.manual_seed(seed)
    unet, _ = load_unet(space)
    net = build_controlnet(unet)
    restore(net, trained_state(space, "controlnet"))
    attend_for_training(unet)
    attend_for_training(net)
    composer, lesson = csgo.attach(unet, net), load_lesson(space)

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([seed, step])
        chosen = lesson.chosen(rng, stage.batch)
        seen = torch.from_numpy(rng.uniform(size=(stage.batch, 1, 1)) >= NO_IMAGE)
        for side, images in (("style", lesson.pictures.images[chosen ^ 1]), ("content", lesson.others[chosen])):
            composer.shown.tokens[side] = composer.trained[side](lesson.features(images) * seen.to(space.device))
        composer.shown.scale["content"] = float(rng.uniform() >= NO_CONTENT_TOKENS)
        image = content_tiles(lesson, chosen, np.full(stage.batch, True), rng)
        specs = [lesson.pictures.specs[index] for index in chosen]
        text = lesson.text([caption(spec.object_name, colour=spec.colour_word) for spec in specs], rng)
        noised = lesson.noised(chosen, step)
        scale = float(rng.uniform(LEAST_SCALE, 1.0))
        more = residuals(net, noised.latents, noised.t, text, image, scale)
        return noised.loss(unet(noised.latents, noised.t, encoder_hidden_states=text, **more).sample)

    fit(space, "csgo", stage, composer.trained, loss)
