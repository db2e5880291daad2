"""Signal leak: one latent changes, nothing else. See math.py for the formulas and spec.py for the parameters."""

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from workers.engine import schedulers
from workers.engine.backbones.base import Backbone
from workers.engine.denoise import Hooks, Trajectory
from workers.engine.errors import Refused
from workers.engine.noise import INITIAL
from workers.engine.technique import GenerationInputs, PrepareContext, params_as, text_to_image, text_to_image_batch_key
from workers.techniques.prior_noise.signal_leak import leak, math
from workers.techniques.prior_noise.signal_leak.spec import SPEC, SignalLeakParams

LEAST_SIGNAL = 1e-3


class SignalLeak:
    """The technique; stateless."""

    spec = SPEC

    def batch_key(self, inputs: GenerationInputs, backbone: Backbone) -> Hashable | None:
        """Batches with everything of its size on the same model, whatever the style."""
        return text_to_image_batch_key(inputs, backbone)

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return plain text-to-image with x in place of the starting noise; plain exactly at strength 0.

        Raises Refused where the model's first timestep holds no signal, or the statistics are undefined.
        """
        params = params_as(inputs, SignalLeakParams)
        trajectory = text_to_image(inputs, context, sampler=params.sampler)
        k = inputs.strength * params.leak_scale
        if k > 0:
            x = self.initial_latents(inputs, params, context, trajectory.scheduler, k)
            trajectory.latents = context.backbone.initial_latents(x, trajectory.scheduler)
        return trajectory

    def initial_latents(
        self, inputs: GenerationInputs, params: SignalLeakParams, context: PrepareContext, scheduler: Any, k: float
    ) -> Tensor:
        """Return x (n, C, h, w), float32, as a pipeline takes it: before it is scaled for the scheduler."""
        a = schedulers.signal(scheduler)
        if a < LEAST_SIGNAL:
            raise Refused(
                "signal-leak does nothing here: at its first timestep this model or sampler keeps no signal "
                f"(alphas_cumprod {a:.2g}), as with zero terminal SNR, rectified flow or few-step models"
            )
        shape = context.backbone.latent_shape(inputs.width, inputs.height)
        s = leak.drawn(inputs, params, leak.statistics_of(inputs, params, context), shape)
        x = math.mixed(s, inputs.noise.normal(INITIAL, shape), a, k)
        init_noise_sigma = float(scheduler.init_noise_sigma)
        if init_noise_sigma == 1:
            return x
        return math.variance_exploding(x, float(scheduler.sigmas[0]), init_noise_sigma)

    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> AbstractContextManager[Hooks]:
        """Change nothing."""
        return nullcontext(Hooks())


TECHNIQUE = SignalLeak()
