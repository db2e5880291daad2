"""Samplers by name: diffusers' own schedulers, built from the base model's configuration.

Every denoising has a scheduler of its own, so requests at different timesteps can share a UNet call.
"""

from collections.abc import Mapping
from typing import Any, Literal

from diffusers import (
    DDIMInverseScheduler,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

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


def build(name: str, config: Mapping[str, Any], steps: int) -> Any:
    """Return the named scheduler with its timesteps set for `steps`, kept on the CPU so that no step waits for a GPU.

    Latents are never clipped and PNDM makes no Runge-Kutta steps (as in every Stable Diffusion checkpoint), whatever
    the configuration says. Raises KeyError for an unknown name.
    """
    scheduler = CLASSES[name].from_config(dict(config), **FIXED.get(name, {}))
    scheduler.set_timesteps(steps)
    return scheduler


def signal(scheduler: Any) -> float:
    """Return a = alphas_cumprod at the scheduler's first timestep: how much of the picture its start still holds.

    0 for schedulers without alphas_cumprod (rectified flow starts from noise alone).
    """
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return 0.0
    return float(alphas[round(float(scheduler.timesteps[0]))])
