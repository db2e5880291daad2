"""Where training keeps its data and checkpoints, and how a stage is interrupted and resumed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from tqdm import tqdm

from workers.training.starter.dataset import PictureSet, Portion, load_pictures
from workers.training.starter.networks.patch_code import PatchCode, fit_patch_code, load_patch_code, save_patch_code
from workers.training.starter.recipe import Stage, StarterConfig

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Workspace:
    """One folder of one recipe; everything in it can be made again."""

    recipe: StarterConfig
    folder: Path
    device: torch.device
    workers: int = 1

    def pictures(self, portion: Portion) -> PictureSet:
        """The portion from the shared cache of drawn pictures."""
        return load_pictures(portion, self.folder / "pictures", self.workers)

    def training_portion(self) -> Portion:
        """All trained pairs in all the recipe's styles."""
        r = self.recipe
        return Portion(r.objects, r.styles, r.placement, r.pictures, r.colour_share, seed=r.seed)

    def flat_portion(self) -> Portion:
        """The first lesson: every object in the flat style."""
        r = self.recipe
        return Portion(r.objects, ("flat",), r.placement, r.flat_pictures, r.colour_share, seed=r.seed)

    def judged_portion(self, pictures: int) -> Portion:
        """Unseen pairs in unseen style instances."""
        r = self.recipe
        return Portion(r.objects, r.styles, r.placement, pictures, pairs="unseen", unseen_instances=True, seed=r.seed)

    def patch_code(self) -> PatchCode:
        """The latent code, fitted to the first pictures of the training portion once."""
        path = self.folder / "patch_code.safetensors"
        if not path.exists():
            r = self.recipe
            portion = Portion(r.objects, r.styles, r.placement, min(2048, r.pictures), r.colour_share, seed=r.seed)
            save_patch_code(fit_patch_code(self.pictures(portion).images), path)
        return load_patch_code(path)

    def checkpoint_path(self, stage: str) -> Path:
        """File of the stage's latest state."""
        return self.folder / f"{stage}.pt"

    def load(self, stage: str) -> dict[str, Any] | None:
        """The stage's latest state, or nothing at its first start."""
        path = self.checkpoint_path(stage)
        return torch.load(path, map_location=self.device, weights_only=True) if path.exists() else None

    def save(self, stage: str, state: dict[str, Any]) -> None:
        """Replace the stage's state in one step, so that an interruption leaves the old or the new one."""
        path = self.checkpoint_path(stage)
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, path)


def placed(module: Module, device: torch.device) -> Module:
    """The module itself, moved to the device, its convolutions in channels-last order."""
    nn.Module.to(module, device=device)
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


def half_precision(device: torch.device) -> torch.autocast:
    """Matrix products in bfloat16, the weights staying in full precision."""
    return torch.autocast(device.type, torch.bfloat16)


def learning_rate(stage: Stage, step: int, *, decay: float = 0.25) -> float:
    """Linear warm-up, constant, then linear to zero over the last `decay` of the steps."""
    remaining = (stage.steps - step) / max(1.0, decay * stage.steps)
    return stage.learning_rate * min(1.0, (step + 1) / stage.warmup, max(remaining, 0.0))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Write the rate to every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def steps(first: int, last: int, name: str) -> Iterator[tuple[int, "tqdm[int]"]]:
    """Step numbers with a progress bar."""
    bar = tqdm(range(first, last), initial=first, total=last, desc=name, unit="step", mininterval=5)
    for step in bar:
        yield step, bar
