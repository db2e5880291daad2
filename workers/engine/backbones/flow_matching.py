"""Rectified flow as the loop asks for it: diffusers' Euler scheduler neither scales nor estimates the final latents.

z_t = (1 - t) z_0 + t e, and the model predicts v = e - z_0. A step is z <- z + (t_next - t) v; z - t v estimates z_0.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor


class FlowMatching:
    """The last `strength` of a schedule of `steps` steps; `mu` shifts it where the configuration says so.

    t_i = linspace(1, 1 / steps, steps); with dynamic shifting t -> e^mu / (e^mu + 1 / t - 1). Latents have unit scale
    throughout.
    """

    init_noise_sigma = 1.0

    def __init__(self, config: Mapping[str, Any], steps: int, mu: float, strength: float = 1.0) -> None:
        flow: Any = FlowMatchEulerDiscreteScheduler.from_config(dict(config))
        shift = mu if config.get("use_dynamic_shifting") else None
        flow.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps), mu=shift)
        self._begin = int(max(steps - min(steps * strength, steps), 0))
        flow.set_begin_index(self._begin)
        self._flow = flow
        self.timesteps: Tensor = flow.timesteps[self._begin :]

    @property
    def sigma(self) -> Tensor:
        """t of the first step, a scalar tensor: the share of noise in what is started from."""
        sigma: Tensor = self._flow.sigmas[self._begin]
        return sigma

    def scale_model_input(self, sample: Tensor, timestep: Tensor) -> Tensor:
        """Return the latents as they are."""
        return sample

    def add_noise(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Return what the first step starts from: (1 - t) latents + t noise."""
        sigma = self.sigma.to(latents)
        return (1.0 - sigma) * latents + sigma * noise

    def step(
        self, prediction: Tensor, timestep: Tensor, sample: Tensor, *, return_dict: Literal[False] = False
    ) -> tuple[Tensor, ...]:
        """Return the next latents and the estimate of the final ones; `prediction` is v, float32 like the latents."""
        moved: Tensor = self._flow.step(prediction, timestep, sample, return_dict=False)[0]
        sigma = self._flow.sigmas[self._flow.step_index - 1]  # stays on the CPU: nothing is copied to a GPU
        return moved, sample - sigma * prediction
