"""ReNoise inversion of the content image, on the one loop: what refines a step answers with its last prediction.

From z at level t - k to level t, every estimate is the DDIM step from the same z with another prediction, so the step
that the loop makes with the last prediction is the inversion's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from workers.engine import schedulers
from workers.engine.backbones import patches
from workers.engine.backbones.base import Backbone
from workers.engine.cache.style_cache import key_of
from workers.engine.conditioning import stack
from workers.engine.denoise import DenoiserCall, Hooks, Predict, Rows, Trajectory
from workers.engine.images import digest, to_signed
from workers.engine.technique import PrepareContext
from workers.techniques.encoder.instantstyle_plus import renoise
from workers.techniques.encoder.instantstyle_plus.renoise import Roll
from workers.techniques.encoder.instantstyle_plus.spec import SPEC


@dataclass(frozen=True)
class RenoiseConfig:
    """All that an inversion depends on beside picture, prompt and model. K: refinements."""

    scheduler_config: Mapping[str, Any]
    steps: int
    K: int
    seed: int


class Renoise(Hooks):
    """Refines each step of one inversion."""

    wants_gradients = True

    def __init__(self, predict: Predict, z_0: Tensor, n: Tensor, K: int, roll: Roll) -> None:
        self._predict = predict
        self._z_0 = z_0
        self._n = n
        self._K = K
        self._roll = roll
        self._optimal: Tensor | None = None

    def before_predict(self, call: DenoiserCall) -> None:
        """Add the row whose prediction the others are compared with, at the timesteps that do."""
        [rows] = call.rows
        t = int(call.timestep)
        self._optimal = None
        if renoise.averaged(t).start > renoise.refinements(t, self._K):
            return
        a_t = schedulers.signal(rows.trajectory.scheduler, t)
        forward = renoise.noised(self._z_0, self._n, a_t)
        call.sample = torch.cat([call.sample, forward.to(call.sample)])
        call.condition = stack([call.condition, call.condition])

    def see(self, unet: Any, args: Any, kwargs: Any, output: tuple[Tensor]) -> None:
        """Keep the prediction of the added row (a forward hook)."""
        if len(output[0]) > 1:
            self._optimal = output[0][1:].to(self._z_0)

    def after_guidance(self, trajectory: Trajectory, noise: Tensor, call: DenoiserCall) -> Tensor:
        """Return the prediction (1, C, h, w) of the last refinement, or the regularised mean of those to average."""
        t, eps, mean = int(call.timestep), noise, None
        to_average = renoise.averaged(t)
        for i in range(renoise.refinements(t, self._K) + 1):
            if i:
                eps = self._predicted(trajectory, eps, call.rows)
            if i in to_average:
                j = i - to_average.start
                mean = eps if mean is None else (j * mean + eps) / (j + 1)
            if i >= to_average.start:
                eps = self._regularised(eps)
        return eps if mean is None else self._regularised(mean)

    def _predicted(self, trajectory: Trajectory, eps: Tensor, rows: tuple[Rows, ...]) -> Tensor:
        """Return the prediction at the point that the step with the prediction before leads to."""
        t, text = trajectory.timestep, trajectory.positive
        x = trajectory.scheduler.step(eps, t, trajectory.latents, return_dict=False)[0]
        return self._predict(DenoiserCall(x.to(text.text.dtype), t, text, rows)).to(x)

    def _regularised(self, eps: Tensor) -> Tensor:
        assert self._optimal is not None
        moved = renoise.regularised(eps, self._optimal, self._roll)
        return eps if moved.isnan().any() else moved


@dataclass(frozen=True, eq=False)
class Inversion:
    """A picture about to be inverted."""

    trajectory: Trajectory
    hooks: Renoise
    z_0: Tensor
    n: Tensor

    def run(self, context: PrepareContext) -> Tensor:
        """Return the inverted latents (1, C, h, w), float32."""
        with patches.forward_hook(context.backbone.denoiser, self.hooks.see):
            context.denoise([self.trajectory], self.hooks)
        return self.trajectory.latents.float()


class Rolls:
    """Draws of a generator, as ReNoise makes them."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def __call__(self, bound: int) -> int:
        """Return a uniform draw from 0 to below the bound."""
        return int(torch.randint(0, bound, (1,), generator=self._generator))


def begin(
    content: Image.Image,
    prompt: str,
    config: RenoiseConfig,
    backbone: Backbone,
    rolls: Callable[[torch.Generator], Roll] = Rolls,
) -> Inversion:
    """Return a picture ready to be inverted. One generator draws posterior sample, forward noise, rolls, in order."""
    generator = torch.Generator("cpu").manual_seed(config.seed)
    z_0 = backbone.encode(to_signed(content), generator)
    n = torch.randn(z_0.shape, generator=generator).to(z_0.device)
    text, _ = backbone.condition((prompt,), None, guided=False, width=content.width, height=content.height)
    scheduler = schedulers.build(schedulers.INVERSE, config.scheduler_config, config.steps)
    hooks = Renoise(backbone.predict, z_0, n, config.K, rolls(generator))
    return Inversion(Trajectory(z_0, scheduler, text), hooks, z_0, n)


def inverted(content: Image.Image, prompt: str, config: RenoiseConfig, context: PrepareContext) -> Tensor:
    """Return the inverted latents (1, C, h, w) of a picture, kept in the cache; they do not depend on any style."""
    backbone = context.backbone
    key = key_of(
        technique=SPEC.name,
        version=SPEC.version,
        what="inverted content",
        model=backbone.fingerprint,
        dtype=str(backbone.dtype),
        image=digest(content),
        prompt=prompt,
        config={name: value for name, value in config.scheduler_config.items() if not name.startswith("_")},
        steps=config.steps,
        K=config.K,
        seed=config.seed,
    )
    kept = context.cache.get(key, lambda: {"z": begin(content, prompt, config, backbone).run(context)}, of_style=False)
    return kept["z"].to(backbone.device)
