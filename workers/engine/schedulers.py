"""What the loop asks of a scheduler, and the samplers of Stable Diffusion by name: diffusers' own schedulers.

Every denoising has a scheduler of its own, so requests at different timesteps can share a call of the denoiser.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from diffusers import (
    DDIMInverseScheduler,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from workers.engine.errors import Refused

Sampler = Literal["ddim", "dpm++", "euler", "pndm", "unipc"]
INVERSE = "ddim-inverse"

CLASSES: dict[str, Any] = {
    "ddim": DDIMScheduler,
    "dpm++": DPMSolverMultistepScheduler,
    "euler": EulerDiscreteScheduler,
    "pndm": PNDMScheduler,
    "unipc": UniPCMultistepScheduler,
    INVERSE: DDIMInverseScheduler,
}
FIXED: dict[str, dict[str, bool]] = {
    "ddim": {"clip_sample": False},
    INVERSE: {"clip_sample": False},
    "pndm": {"skip_prk_steps": True},
}
WITHOUT_ZERO_SNR = frozenset({"pndm"})
"""Samplers whose class has no rescale_betas_zero_snr: they would pass over it without a word."""


class Scheduler(Protocol):
    """What the loop asks of a scheduler, as most of diffusers' are; a base model wraps one that is not."""

    timesteps: Tensor
    """One per step, in the order of the steps."""

    @property
    def init_noise_sigma(self) -> Any:
        """What starting noise at unit scale is multiplied by: a number or a scalar tensor."""
        ...

    def scale_model_input(self, sample: Tensor, timestep: Tensor) -> Tensor:
        """Return latents as the denoiser reads them at a timestep."""
        ...

    def step(
        self, prediction: Tensor, timestep: Tensor, sample: Tensor, *, return_dict: Literal[False]
    ) -> tuple[Tensor, ...]:
        """Return the latents after a step; as second, where it is known, the picture expected in the end."""
        ...


def build(name: str, config: Mapping[str, Any], steps: int) -> Any:
    """Return the named scheduler with its timesteps set for `steps`, kept on the CPU so that no step waits for a GPU.

    Latents are never clipped and PNDM makes no Runge-Kutta steps (as in every Stable Diffusion checkpoint), whatever
    the configuration says. Raises KeyError for an unknown name, Refused for one that leaves the model's noise levels.
    """
    if config.get("rescale_betas_zero_snr") and name in WITHOUT_ZERO_SNR:
        others = ", ".join(other for other in CLASSES if other not in {name, INVERSE})
        raise Refused(f"sampler {name} has not the noise levels of this model (zero terminal SNR); {others} have")
    scheduler = CLASSES[name].from_config(dict(config), **FIXED.get(name, {}))
    scheduler.set_timesteps(steps)
    return scheduler


def signal(scheduler: Scheduler, timestep: Tensor | float | None = None) -> float:
    """Return a = alphas_cumprod at a timestep, the first if none is given: how much of the picture is left there.

    0 for schedulers without alphas_cumprod (rectified flow starts from noise alone).
    """
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return 0.0
    return float(alphas[round(float(scheduler.timesteps[0] if timestep is None else timestep))])


def require_noise_prediction(config: Mapping[str, Any], technique: str, model: str) -> None:
    """Return when a scheduler's configuration is of a model that predicts noise. Raises Refused for another."""
    kind = config.get("prediction_type", "epsilon")
    if kind != "epsilon":
        raise Refused(f"{technique} needs a base model that predicts noise; {model} predicts {kind}")
