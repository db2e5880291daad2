"""The denoising loop: a step function over the state of each request.

One call of the denoiser may carry the rows of several requests, each at a timestep of its own scheduler. A request with
guidance has an unconditional and a conditional row per picture, in that order; without, only conditional rows.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from workers.engine.conditioning import Condition, stack
from workers.engine.schedulers import Scheduler


@dataclass(eq=False)
class Trajectory:
    """The pictures of one request on their way from noise to latents (or back, with an inverse scheduler).

    latents: (n, channels, h, w), scaled as the scheduler wants them (see `Backbone.initial_latents`); float32 whatever
    the denoiser's dtype, so that steps do not lose what half precision cannot hold. `negative` is None when there is no
    guidance. `scheduler` is this request's own, its timesteps set. `estimate` is what its last step expects in the end,
    if the scheduler says so, at unit scale. `finish` is done to each decoded picture. `control_map` is the map that was
    made of the control picture, an RGB picture. `beside` columns of latents on the left are of no picture of the
    request, so no preview shows them. `extra` belongs to the technique.
    """

    latents: Tensor
    scheduler: Scheduler
    positive: Condition
    negative: Condition | None = None
    guidance_scale: float = 1.0
    seeds: tuple[int, ...] = ()
    step: int = 0
    estimate: Tensor | None = None
    stopped: bool = False
    finish: Callable[[Image.Image], Image.Image] | None = None
    control_map: Image.Image | None = None
    beside: int = 0
    extra: Any = None

    @property
    def steps(self) -> int:
        """How many steps there are in all."""
        return len(self.scheduler.timesteps)

    @property
    def done(self) -> bool:
        """True when nothing is left to do, or the request was stopped."""
        return self.stopped or self.step >= self.steps

    @property
    def timestep(self) -> Tensor:
        """The timestep of the next step, a scalar tensor."""
        return self.scheduler.timesteps[self.step]

    @property
    def halves(self) -> tuple[Condition, ...]:
        """The conditions of a call's rows in their order: unconditional first."""
        return (self.positive,) if self.negative is None else (self.negative, self.positive)


@dataclass(frozen=True)
class Rows:
    """Which rows of a call belong to one half of one trajectory."""

    trajectory: Trajectory
    conditional: bool
    start: int
    stop: int


@dataclass
class DenoiserCall:
    """One call of the denoiser: its inputs, which hooks may change, and who owns which row.

    sample: (rows, channels, h, w). timestep: a scalar, or (rows,) when the trajectories differ. `inputs` are further
    keyword arguments of the model; ControlNet residuals are put there.
    """

    sample: Tensor
    timestep: Tensor
    condition: Condition
    rows: tuple[Rows, ...]
    inputs: dict[str, Any] = field(default_factory=dict)

    def of(self, trajectory: Trajectory) -> slice:
        """Return the rows of one trajectory, both halves."""
        own = [part for part in self.rows if part.trajectory is trajectory]
        return slice(own[0].start, own[-1].stop)


class Hooks:
    """What a technique may do around the denoiser's calls; the methods here do nothing.

    One object serves one denoising, which may hold several trajectories of the same technique. It runs in torch's
    inference mode, the fastest; a technique that needs gradients sets `wants_gradients` and opens
    `torch.enable_grad()` where it needs them.
    """

    wants_gradients: bool = False

    def before_predict(self, call: DenoiserCall) -> None:
        """Look at or change the call: note timesteps and rows for processors, add ControlNet residuals."""

    def after_guidance(self, trajectory: Trajectory, noise: Tensor, call: DenoiserCall) -> Tensor:
        """Return the noise prediction (n, channels, h, w) that the scheduler shall use; `noise` is the guided one."""
        return noise

    def after_step(self, trajectory: Trajectory) -> None:
        """Look at or replace `trajectory.latents`; `trajectory.step` already counts the step just made."""


Watch = Callable[[Trajectory], None]
Predict = Callable[[DenoiserCall], Tensor]
"""Returns the prediction for every row of a call (rows, channels, h, w): `Backbone.predict`."""


def denoise(
    predict: Predict, trajectories: Sequence[Trajectory], *, hooks: Hooks | None = None, watch: Watch | None = None
) -> None:
    """Carry every trajectory through all its steps.

    `watch` is called for each trajectory before its first and after each of its steps. It may raise, which ends the
    whole denoising, or set `stopped`, which takes that one trajectory out.
    """
    hooks = hooks or Hooks()
    with torch.no_grad() if hooks.wants_gradients else torch.inference_mode():
        _observe(trajectories, watch)
        while live := [trajectory for trajectory in trajectories if not trajectory.done]:
            step(predict, live, hooks)
            _observe(live, watch)


def _observe(trajectories: Iterable[Trajectory], watch: Watch | None) -> None:
    if watch is not None:
        for trajectory in trajectories:
            watch(trajectory)


def step(predict: Predict, trajectories: Sequence[Trajectory], hooks: Hooks) -> None:
    """Make one step of every trajectory with one call of the denoiser. Latents must agree in size, dtype and device."""
    call = gather(trajectories)
    hooks.before_predict(call)
    predicted = predict(call)
    for trajectory in trajectories:
        noise = guide(predicted[call.of(trajectory)], trajectory)
        noise = hooks.after_guidance(trajectory, noise, call)
        advance(trajectory, noise)
        hooks.after_step(trajectory)


def gather(trajectories: Sequence[Trajectory]) -> DenoiserCall:
    """Return the call of the next step: per trajectory its unconditional rows, then its conditional ones."""
    samples: list[Tensor] = []
    timesteps: list[Tensor] = []
    conditions: list[Condition] = []
    rows: list[Rows] = []
    for trajectory in trajectories:
        scaled = trajectory.scheduler.scale_model_input(trajectory.latents, trajectory.timestep)
        for half in trajectory.halves:
            begin = rows[-1].stop if rows else 0
            rows.append(Rows(trajectory, half is trajectory.positive, begin, begin + half.rows))
            samples.append(scaled.to(half.text.dtype))
            timesteps.append(trajectory.timestep)
            conditions.append(half)
    sample = samples[0] if len(samples) == 1 else torch.cat(samples)
    return DenoiserCall(sample, _timestep(timesteps, rows, sample), stack(conditions), tuple(rows))


def _timestep(timesteps: list[Tensor], rows: list[Rows], sample: Tensor) -> Tensor:
    if all(timestep is timesteps[0] or timestep == timesteps[0] for timestep in timesteps[1:]):
        return timesteps[0]
    counts = torch.tensor([part.stop - part.start for part in rows])
    return torch.stack(timesteps).cpu().repeat_interleave(counts).to(sample.device)


def guide(predicted: Tensor, trajectory: Trajectory) -> Tensor:
    """Return the guided prediction (n, ...) of one trajectory's rows, in its latents' dtype: e_neg + g (e - e_neg)."""
    predicted = predicted.to(trajectory.latents.dtype)
    if trajectory.negative is None:
        return predicted
    unconditional, conditional = predicted.chunk(2)
    return unconditional + trajectory.guidance_scale * (conditional - unconditional)


def advance(trajectory: Trajectory, noise: Tensor) -> None:
    """Make the scheduler's step with a noise prediction (n, channels, h, w)."""
    stepped = trajectory.scheduler.step(noise, trajectory.timestep, trajectory.latents, return_dict=False)
    trajectory.latents, trajectory.estimate = stepped[0], stepped[1] if len(stepped) > 1 else None
    trajectory.step += 1
