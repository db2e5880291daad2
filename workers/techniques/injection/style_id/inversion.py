"""DDIM inversion of the style and the content picture, and what is remembered of it, by timestep and layer.

Remembered, and kept in the style cache: `z`, the inverted latents (1, C, h, w) in float32; of the style `<layer>.k`
and `<layer>.v`, of the content `<layer>.q`, each (steps, halves, tokens, width) in the model's dtype, steps ascending
in t, one half unless the inversion was guided. What no tier of the cache has room for is inverted again next time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from workers.engine import memory
from workers.engine.backbones.base import Backbone
from workers.engine.cache.style_cache import key_of
from workers.engine.cache.tiers import Tensors
from workers.engine.denoise import Trajectory
from workers.engine.images import digest, to_signed
from workers.engine.technique import PrepareContext
from workers.techniques.injection.style_id import math, schedule
from workers.techniques.injection.style_id.attention import AttentionHooks, installed
from workers.techniques.injection.style_id.layers import Layer
from workers.techniques.injection.style_id.spec import SPEC

Role = Literal["style", "content"]
REMEMBERED: dict[Role, str] = {"style": "kv", "content": "q"}


@dataclass(frozen=True)
class InversionConfig:
    """How pictures are inverted; with a picture, all that an inversion depends on."""

    backbone: Backbone
    schedule: str
    config: Mapping[str, Any]
    steps: int
    prompt: str
    guidance_scale: float
    layers: tuple[Layer, ...]

    def trajectory(self, image: Image.Image) -> Trajectory:
        """Return a picture about to be inverted: its latents, the posterior mode, in float32."""
        positive, negative = self.backbone.condition(
            (self.prompt,), "", guided=self.guidance_scale != 1, width=image.width, height=image.height
        )
        scheduler = schedule.inverse(self.schedule, self.config, self.steps)
        latents = self.backbone.encode(to_signed(image))
        return Trajectory(latents, scheduler, positive, negative, self.guidance_scale)


@dataclass(frozen=True, eq=False)
class InvertedImage:
    """A picture to be inverted, at the size to do it in."""

    role: Role
    image: Image.Image

    def key(self, recipe: InversionConfig) -> str:
        """Return the cache key of its inversion."""
        return key_of(
            technique=SPEC.name,
            version=SPEC.version,
            role=self.role,
            image=digest(self.image),
            model=recipe.backbone.fingerprint,
            dtype=str(recipe.backbone.dtype),
            schedule=recipe.schedule,
            config={name: value for name, value in recipe.config.items() if not name.startswith("_")},
            steps=recipe.steps,
            prompt=recipe.prompt,
            guidance_scale=recipe.guidance_scale,
            layers=[layer.name for layer in recipe.layers],
        )


class Recorder(AttentionHooks):
    """Remembers what the subjects of some trajectories call for, each in the memory named, and changes nothing."""

    def __init__(
        self, subjects: Mapping[Trajectory, InvertedImage], homes: Mapping[InvertedImage, torch.device]
    ) -> None:
        self._subjects = subjects
        self._homes = homes
        self.remembered: dict[Trajectory, Tensors] = {trajectory: {} for trajectory in subjects}

    def attend(self, layer: str, attn: Any, x: Tensor) -> Tensor:
        """Return ordinary self-attention."""
        found = {"q": attn.to_q(x), "k": attn.to_k(x), "v": attn.to_v(x)}
        for trajectory, rows in self.trajectories():
            for part in REMEMBERED[self._subjects[trajectory].role]:
                self._remember(trajectory, f"{layer}.{part}", found[part][rows])
        return math.attention(found["q"], found["k"], found["v"], heads=attn.heads, scale=attn.scale)

    def _remember(self, trajectory: Trajectory, name: str, feature: Tensor) -> None:
        own = self.remembered[trajectory]
        if name not in own:
            device_for = self._homes[self._subjects[trajectory]]
            own[name] = feature.new_empty((trajectory.steps, *feature.shape), device=device_for)
        own[name][trajectory.step] = feature


def both(
    style: InvertedImage, content: InvertedImage, recipe: InversionConfig, context: PrepareContext
) -> tuple[Tensors, Tensors]:
    """Return what is remembered of both pictures; when neither is in the cache they are inverted together."""
    there: dict[Role, Tensors] = {}

    def build_style() -> Tensors:
        there["content"] = context.cache.get(content.key(recipe), build_content, of_style=False)
        return there["style"] if "style" in there else inverted([style], recipe, context)[0]

    def build_content() -> Tensors:
        there["style"], built = inverted([style, content], recipe, context)
        return built

    kept = context.cache.get(style.key(recipe), build_style)
    return kept, there["content"] if "content" in there else one(content, recipe, context)


def one(subject: InvertedImage, recipe: InversionConfig, context: PrepareContext) -> Tensors:
    """Return what is remembered of one picture."""
    of_style = subject.role == "style"
    return context.cache.get(subject.key(recipe), lambda: inverted([subject], recipe, context)[0], of_style=of_style)


def inverted(subjects: Sequence[InvertedImage], recipe: InversionConfig, context: PrepareContext) -> list[Tensors]:
    """Invert pictures, those of one size as one batch. Raises OutOfMemory when their features do not fit."""
    if len({subject.image.size for subject in subjects}) > 1:
        return [features for subject in subjects for features in inverted([subject], recipe, context)]
    homes = {subject: device_for(subject, recipe, context) for subject in subjects}
    trajectories = {recipe.trajectory(subject.image): subject for subject in subjects}
    recorder = Recorder(trajectories, homes)
    with installed(recipe.backbone.denoiser, recipe.layers, recorder):
        context.denoise(list(trajectories), recorder)
    return [{"z": t.latents.to(torch.float32), **recorder.remembered[t]} for t in trajectories]


def device_for(subject: InvertedImage, recipe: InversionConfig, context: PrepareContext) -> torch.device:
    """Return whose memory the features go to at once: the cache's where one has the room, else the model's.

    Raises OutOfMemory when they do not fit there.
    """
    size = size_of(subject, recipe)
    device = context.cache.device_for(size) or recipe.backbone.device
    memory.require(size, device)
    return device


def size_of(subject: InvertedImage, recipe: InversionConfig) -> int:
    """Return about how many bytes are remembered of a picture."""
    _, h, w = recipe.backbone.latent_shape(*subject.image.size)
    numbers = sum(layer.tokens(h, w) * layer.width for layer in recipe.layers) * len(REMEMBERED[subject.role])
    return numbers * recipe.steps * (1 if recipe.guidance_scale == 1 else 2) * recipe.backbone.dtype.itemsize
