"""What a family's module needs to run a case through the real technique: models, an order, a bench, the loop."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.parity.case import Case
from tests.support.tiny import models
from workers.contract.spec import Params
from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import Trajectory, denoise
from workers.engine.noise import RecordedNoise
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext, Technique


def data_root(given: Path, cache: Path) -> Path:
    """Return the folder above `tiny-models`: the given one, else `cache` with the models rebuilt from their seeds."""
    if all((given / "tiny-models" / name).is_dir() for name in models.BUILDERS):
        return given.resolve()
    models.build_all(cache / "tiny-models")
    return cache.resolve()


class Lab:
    """Base models by their variant, loaded once and never changed after."""

    def __init__(self) -> None:
        self._backbones: dict[str, StableDiffusion] = {}

    def backbone(self, case: Case) -> StableDiffusion:
        """Return the case's base model, float32 on the CPU, with the case's VAE and edit of the weights."""
        folder = case.data_root / "tiny-models" / case.facts["base"]
        vae = case.weights("vae") if case.has_weights("vae") else None
        edit = case.facts.get("base_edit")
        key = repr((folder, vae, edit))
        if key not in self._backbones:
            loaded = load(folder, vae=vae, dtype=torch.float32)
            if edit:
                multiply(loaded.components[edit["module"]], edit["parameters_ending_with"], edit["multiply_by"])
                loaded.fingerprint = key
            self._backbones[key] = loaded
        return self._backbones[key]

    def context(self, case: Case, weights: Callable[[str], Path] | None = None) -> PrepareContext:
        """Return a bench with a cold style cache; `weights` defaults to the case's extra weights by their names."""
        cache = RequestCache(StyleCache([MemoryTier("host", 1 << 30)]))
        return PrepareContext(self.backbone(case), cache, weights or case.weights)


def multiply(module: torch.nn.Module, endings: list[str], factor: float) -> None:
    """Multiply every parameter whose name ends so, in place."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith(tuple(endings)):
                parameter.mul_(factor)


def inputs(
    case: Case, params: Params, draws: Mapping[str, Tensor], *, prompts: tuple[str, ...] | None = None, **more: Any
) -> GenerationInputs:
    """Return a case as an order whose random draws are the recorded ones; `more` replaces any field."""
    prompts = prompts or case.prompts
    fields: dict[str, Any] = {
        "prompts": prompts,
        "seeds": tuple(range(len(prompts))),
        "width": case.facts["width"],
        "height": case.facts["height"],
        "steps": case.facts["steps"],
        "guidance_scale": case.facts["guidance_scale"],
        "params": params,
        "noise": RecordedNoise(draws),
        "negative_prompt": case.facts["negative_prompt"],
        "pictures": Pictures(case.styles, case.picture("content_image"), case.picture("control_image")),
        "scheduler_config": case.facts.get("scheduler_config"),
    }
    return GenerationInputs(**fields | more)


def carry(technique: Technique, trajectory: Trajectory, context: PrepareContext) -> list[Tensor]:
    """Denoise with the technique's patch; return the latents before the first and after each step."""
    seen: list[Tensor] = []
    with technique.patch(context.backbone, [trajectory]) as hooks:
        denoise(context.backbone.predict, [trajectory], hooks=hooks, watch=lambda t: seen.append(t.latents.clone()))
    return seen
