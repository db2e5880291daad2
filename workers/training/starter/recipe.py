"""Recipes: the size of the world and of each stage, as data."""

from dataclasses import dataclass, field
from types import MappingProxyType

from workers.training.starter.world.captions import CaptionDropout
from workers.training.starter.world.objects import OBJECTS
from workers.training.starter.world.registry import STYLES
from workers.training.starter.world.scene import Placement


@dataclass(frozen=True)
class Stage:
    """Steps, batch and peak learning rate of one training stage."""

    steps: int
    batch: int
    learning_rate: float
    warmup: int = 200


@dataclass(frozen=True)
class StarterConfig:
    """Everything that decides what is trained, for how long, on which part of the world."""

    objects: tuple[str, ...]
    styles: tuple[str, ...]
    placement: Placement
    flat_pictures: int
    pictures: int
    judges_pictures: int
    unet_flat: Stage
    unet: Stage
    vae: Stage
    clip: Stage
    ip_adapter: Stage
    qformer: Stage
    controlnet: Stage
    csgo: Stage
    counterparts: int
    judges: Stage
    unet_widths: tuple[int, int, int, int] = (64, 128, 160, 160)
    colour_share: float = 0.0
    dropout: CaptionDropout = field(default_factory=CaptionDropout)
    seed: int = 20


RECIPES = MappingProxyType(
    {
        "cpu": StarterConfig(
            objects=tuple(OBJECTS)[:12],
            styles=("flat", "watercolour", "pencil", "stainedglass", "neon", "oil", "chalk", "blueprint"),
            placement=Placement(shift=0.1, smallest=0.68, largest=0.8),
            flat_pictures=4096,
            pictures=16384,
            judges_pictures=8192,
            unet_flat=Stage(1800, 16, 6e-4),
            unet=Stage(1900, 32, 6e-4),
            vae=Stage(1200, 16, 2e-3, 50),
            clip=Stage(2000, 64, 1e-3),
            ip_adapter=Stage(800, 32, 1e-3),
            qformer=Stage(800, 32, 1e-3, 100),
            controlnet=Stage(500, 32, 1e-3, 50),
            csgo=Stage(600, 32, 1e-3, 50),
            counterparts=8192,
            judges=Stage(700, 64, 2e-3),
            dropout=CaptionDropout(place=1.0),
        ),
        "gpu": StarterConfig(
            objects=tuple(OBJECTS),
            styles=tuple(STYLES),
            placement=Placement(),
            flat_pictures=24576,
            pictures=131072,
            judges_pictures=32768,
            unet_flat=Stage(1500, 256, 8e-4),
            unet=Stage(7000, 512, 8e-4),
            vae=Stage(4000, 64, 1e-3, 50),
            clip=Stage(4000, 256, 5e-4),
            ip_adapter=Stage(2500, 256, 5e-4),
            qformer=Stage(2500, 256, 5e-4),
            controlnet=Stage(2000, 256, 5e-4),
            csgo=Stage(2500, 256, 5e-4),
            counterparts=65536,
            judges=Stage(3000, 256, 1e-3),
            colour_share=0.3,
        ),
    }
)
