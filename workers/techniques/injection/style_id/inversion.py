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
from workers.techniques.injection.style_id.attention import AttentionHooks, hooked_attention
from workers.techniques.injection.style_id.layers import Layer
from workers.techniques.injection.style_id.spec import SPEC

Role = Literal["style", "content"]
REMEMBERED: dict[Role, str] = {"style": "kv", "content": "q"}


@dataclass(frozen=True)
class InversionConfig:
    """How pictures are inverted; with a picture, all that an inversion depends on."""

    backbone: Backbone
    schedule: str
    scheduler_config: Mapping[str, Any]
    steps: int
    prompt: str
    guidance_scale: float
    layers: tuple[Layer, ...]

    def trajectory(self, image: Image.Image) -> Trajectory:
        """Return a picture about to be inverted: its latents, the posterior mode, in float32."""
        positive, negative = self.backbone.condition(
            (self.prompt,), "", guided=self.guidance_scale != 1, width=image.width, height=image.height
        )
        scheduler = schedule.inverse(self.schedule, self.scheduler_config, self.steps)
        latents = self.backbone.encode(to_signed(image))
        return Trajectory(latents, scheduler, positive, negative, self.guidance_scale)


@dataclass(frozen=True, eq=False)
class InvertedImage:
    """A picture to be inverted, at the size to do it in."""

    role: Role
    image: Image.Image

    def key(self, config: InversionConfig) -> str:
        """Return the cache key of its inversion."""
        return key_of(
            technique=SPEC.name,
            version=SPEC.version,
            role=self.role,
            image=digest(self.image),
            model=config.backbone.fingerprint,
            dtype=str(config.backbone.dtype),
            schedule=config.schedule,
            config={name: value for name, value in config.scheduler_config.items() if not name.startswith("_")},
            steps=config.steps,
            prompt=config.prompt,
            guidance_scale=config.guidance_scale,
            layers=[layer.name for layer in config.layers],
        )


class Recorder(AttentionHooks):
    """Remembers what the pictures of some trajectories call for, each in the memory named, and changes nothing."""

    def __init__(
        self, pictures: Mapping[Trajectory, InvertedImage], devices: Mapping[InvertedImage, torch.device]
    ) -> None:
        self._pictures = pictures
        self._devices = devices
        self.remembered: dict[Trajectory, Tensors] = {trajectory: {} for trajectory in pictures}

    def attend(self, layer: str, attn: Any, x: Tensor) -> Tensor:
        """Return ordinary self-attention."""
        found = {"q": attn.to_q(x), "k": attn.to_k(x), "v": attn.to_v(x)}
        for trajectory, rows in self.trajectories():
            for part in REMEMBERED[self._pictures[trajectory].role]:
                self._remember(trajectory, f"{layer}.{part}", found[part][rows])
        return math.attention(found["q"], found["k"], found["v"], heads=attn.heads, scale=attn.scale)

    def _remember(self, trajectory: Trajectory, name: str, feature: Tensor) -> None:
        own = self.remembered[trajectory]
        if name not in own:
            device = self._devices[self._pictures[trajectory]]
            own[name] = feature.new_empty((trajectory.steps, *feature.shape), device=device)
        own[name][trajectory.step] = feature


def features_of_both(
    style: InvertedImage, content: InvertedImage, config: InversionConfig, context: PrepareContext
) -> tuple[Tensors, Tensors]:
    """Return what is remembered of both pictures; when neither is in the cache they are inverted together."""
    there: dict[Role, Tensors] = {}

    def build_style() -> Tensors:
        there["content"] = context.cache.get(content.key(config), build_content, of_style=False)
        return there["style"] if "style" in there else inverted([style], config, context)[0]

    def build_content() -> Tensors:
        there["style"], built = inverted([style, content], config, context)
        return built

    kept = context.cache.get(style.key(config), build_style)
    return kept, there["content"] if "content" in there else features_of(content, config, context)


def features_of(picture: InvertedImage, config: InversionConfig, context: PrepareContext) -> Tensors:
    """Return what is remembered of one picture."""
    of_style = picture.role == "style"
    return context.cache.get(picture.key(config), lambda: inverted([picture], config, context)[0], of_style=of_style)


def inverted(pictures: Sequence[InvertedImage], config: InversionConfig, context: PrepareContext) -> list[Tensors]:
    """Invert pictures, those of one size as one batch. Raises OutOfMemory when their features do not fit."""
    if len({picture.image.size for picture in pictures}) > 1:
        return [features for picture in pictures for features in inverted([picture], config, context)]
    devices = {picture: device_for(picture, config, context) for picture in pictures}
    trajectories = {config.trajectory(picture.image): picture for picture in pictures}
    recorder = Recorder(trajectories, devices)
    with hooked_attention(config.backbone.denoiser, config.layers, recorder):
        context.denoise(list(trajectories), recorder)
    return [{"z": t.latents.to(torch.float32), **recorder.remembered[t]} for t in trajectories]


def device_for(picture: InvertedImage, config: InversionConfig, context: PrepareContext) -> torch.device:
    """Return whose memory the features go to at once: the cache's where one has the room, else the model's.

    Raises OutOfMemory when they do not fit there.
    """
    size = size_of(picture, config)
    device = context.cache.device_for(size) or config.backbone.device
    memory.require(size, device)
    return device


def size_of(picture: InvertedImage, config: InversionConfig) -> int:
    """Return about how many bytes are remembered of a picture."""
    _, h, w = config.backbone.latent_shape(*picture.image.size)
    numbers = sum(layer.tokens(h, w) * layer.width for layer in config.layers) * len(REMEMBERED[picture.role])
    return numbers * config.steps * (1 if config.guidance_scale == 1 else 2) * config.backbone.dtype.itemsize
