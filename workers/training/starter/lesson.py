"""What the adapters learn from: pictures with their latents, and the same contents in other styles."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.training.starter.counterparts import load_counterparts
from workers.training.starter.dataset import PictureSet
from workers.training.starter.networks.captioner import Captioner
from workers.training.starter.networks.patch_code import as_tensor, encode_all
from workers.training.starter.networks.unet import build_scheduler
from workers.training.starter.stages.clip import load_shared
from workers.training.starter.stages.unet import noised
from workers.training.starter.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Noised:
    """A step's input and what is wanted: noisy latents, noise (n, 8, 16, 16), timesteps and weights (n,)."""

    latents: Tensor
    noise: Tensor
    t: Tensor
    weight: Tensor

    def loss(self, predicted: Tensor) -> Tensor:
        """The weighted error of the predicted noise."""
        return (self.weight * (predicted.float() - self.noise).square().mean(dim=(1, 2, 3))).mean()


@dataclass(frozen=True, eq=False)
class Lesson:
    """Picture i, its latents, and `others[i]`, the same content in another style.

    Pictures 2k and 2k + 1 share the style instance and show different objects.
    """

    space: Workspace
    pictures: PictureSet
    others: NDArray[np.uint8]
    latents: Tensor
    captioner: Captioner
    alphas: Tensor
    image_encoder: Any

    def __len__(self) -> int:
        return len(self.pictures)

    def chosen(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Numbers of the pictures of a step."""
        return rng.integers(0, len(self), count)

    def noised(self, chosen: NDArray[np.int64], step: int) -> Noised:
        """The chosen pictures under noise."""
        clean = self.latents[torch.from_numpy(chosen)].to(self.space.device)
        return Noised(*noised(clean, self.alphas, torch.Generator().manual_seed(step)))

    @torch.no_grad()
    def features(self, images: NDArray[np.uint8]) -> Tensor:
        """(n, 65, 128): the image encoder's tokens before its last layer, which Q-Formers and resamplers read."""
        pixels = as_tensor(images).to(self.space.device)
        features: Tensor = self.image_encoder(pixels, output_hidden_states=True).hidden_states[-2]
        return features

    def text(self, captions: list[str], rng: np.random.Generator, empty: float = 0.1) -> Tensor:
        """(n, 77, 128) states of the captions, a share of them left out."""
        kept = [text if rng.uniform() >= empty else "" for text in captions]
        return self.captioner.encode(kept)


def load_lesson(space: Workspace) -> Lesson:
    """The first pictures of the training portion, as many as the recipe has counterparts."""
    pictures = space.pictures(replace(space.training_portion(), pictures=space.recipe.counterparts))
    return Lesson(
        space=space,
        pictures=pictures,
        others=load_counterparts(space, pictures.specs),
        latents=encode_all(space.patch_code(), pictures.images),
        captioner=Captioner(space.recipe, space.device),
        alphas=build_scheduler().alphas_cumprod,
        image_encoder=load_shared(space)[0],
    )
