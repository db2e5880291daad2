"""Signal leak: one latent changes, nothing else. See math.py for the formulas and spec.py for the knobs."""

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from workers.engine import schedulers
from workers.engine.backbones.stable_diffusion import Backbone
from workers.engine.denoise import Hooks, Trajectory, start
from workers.engine.errors import Refused
from workers.engine.noise import INITIAL
from workers.engine.technique import Bench, Order, knobs, plain, plain_key
from workers.techniques.prior_noise.signal_leak import leak, math
from workers.techniques.prior_noise.signal_leak.spec import SPEC, SignalLeakParams

LEAST_SIGNAL = 1e-3


class SignalLeak:
    """The technique; stateless."""

    spec = SPEC

    def batch_key(self, order: Order, backbone: Backbone) -> Hashable | None:
        """Batches with everything of its size on the same model, whatever the style."""
        return plain_key(order, backbone)

    def prepare(self, order: Order, bench: Bench) -> Trajectory:
        """Return plain text-to-image with x in place of the starting noise; plain exactly at strength 0.

        Raises Refused where the model's first timestep holds no signal, or the statistics are undefined.
        """
        params = knobs(order, SignalLeakParams)
        trajectory = plain(order, bench, sampler=params.sampler)
        k = order.strength * params.leak_scale
        if k > 0:
            x = self.initial_latents(order, params, bench, trajectory.scheduler, k)
            trajectory.latents = start(trajectory.scheduler, x).to(bench.backbone.device)
        return trajectory

    def initial_latents(self, order: Order, params: SignalLeakParams, bench: Bench, scheduler: Any, k: float) -> Tensor:
        """Return x (n, C, h, w), float32, as a pipeline takes it: before it is scaled for the scheduler."""
        a = schedulers.signal(scheduler)
        if a < LEAST_SIGNAL:
            raise Refused(
                "signal-leak does nothing here: at its first timestep this model or sampler keeps no signal "
                f"(alphas_cumprod {a:.2g}), as with zero terminal SNR, rectified flow or few-step models"
            )
        shape = bench.backbone.latent_shape(order.width, order.height)
        s = leak.drawn(order, params, leak.statistics_of(order, params, bench), shape)
        x = math.mixed(s, order.noise.normal(INITIAL, shape), a, k)
        init_noise_sigma = float(scheduler.init_noise_sigma)
        if init_noise_sigma == 1:
            return x
        return math.variance_exploding(x, float(scheduler.sigmas[0]), init_noise_sigma)

    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> AbstractContextManager[Hooks]:
        """Change nothing."""
        return nullcontext(Hooks())


TECHNIQUE = SignalLeak()
