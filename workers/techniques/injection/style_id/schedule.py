"""The two schedules of StyleID, on diffusers' DDIM schedulers."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import DDIMInverseScheduler
from torch import Tensor

from workers.engine import schedulers

DDIM = {"timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False}


class LdmInverse:
    """Inversion of the LDM code as a scheduler: told t, it goes from the level of t to that of t + r, and at last to
    the last level of all. diffusers' own goes from t - r to t.
    """

    init_noise_sigma = 1.0

    def __init__(self, aligned: DDIMInverseScheduler) -> None:
        """Take over a scheduler whose timesteps are set; r is the number of training steps // steps."""
        levels: Any = aligned
        last = levels.config.num_train_timesteps
        self._r = last // levels.num_inference_steps
        levels.alphas_cumprod = torch.cat([levels.alphas_cumprod, levels.alphas_cumprod[-1:].expand(self._r)])
        self._levels = levels
        self.timesteps = ldm_timesteps(last, levels.num_inference_steps)

    def scale_model_input(self, sample: Tensor, timestep: Tensor) -> Tensor:
        """Return the sample."""
        return sample

    def step(self, noise: Tensor, timestep: Tensor, sample: Tensor, *, return_dict: bool = False) -> tuple[Tensor, ...]:
        """Return the sample at the level of t + r, and the picture predicted; all (n, C, h, w)."""
        result: tuple[Tensor, ...] = self._levels.step(noise, timestep + self._r, sample, return_dict=return_dict)
        return result


def ldm_timesteps(train_steps: int, steps: int) -> Tensor:
    """Return 1, 1 + r, ... < train_steps, int64: `steps` of them where they divide train_steps, else one or more on."""
    return torch.arange(1, train_steps, train_steps // steps)


def configuration(own: Mapping[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the DDIM configuration: the model's own noise levels with the paper's timesteps, unless one is given.

    diffusers lists in `_use_default_values` what it shall not take over from another scheduler's configuration.
    """
    merged = {**own, **DDIM} if given is None else {**DDIM, **given}
    left_out = [name for name in merged.get("_use_default_values", ()) if name not in DDIM]
    return {**merged, "_use_default_values": left_out}


def inverse(schedule: str, config: Mapping[str, Any], steps: int) -> Any:
    """Return the scheduler that inverts, its timesteps ascending."""
    scheduler = schedulers.build(schedulers.INVERSE, config, steps)
    return LdmInverse(scheduler) if schedule == "ldm" else scheduler


def sampling(schedule: str, config: Mapping[str, Any], steps: int, start_step: int | None) -> Any:
    """Return the scheduler that samples; with `ldm` only its `start_step` lowest timesteps, default all but the first.

    That skip on a latent inverted to the last level is part of the published recipe.
    """
    scheduler = schedulers.build("ddim", config, steps)
    if schedule == "ldm":
        ascending = ldm_timesteps(scheduler.config.num_train_timesteps, steps)
        kept = max(1, len(ascending) - 1) if start_step is None else start_step
        scheduler.timesteps = ascending[:kept].flip(0)
    return scheduler
