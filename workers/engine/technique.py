"""What a technique is to the engine. docs/adding-a-technique.md goes step by step.

The life of a request: the engine turns it into `GenerationInputs` (pictures decoded, parameters validated) and calls

1. `prepare(inputs, context)`, which returns the `Trajectory` to denoise: starting latents, a scheduler of its own,
   conditions, guidance. `text_to_image(inputs, context)` below gives the one of ordinary text-to-image; most techniques
   start from it and change a part. What depends on the style alone comes from
   `context.cache.get(key_of(...), build)`: put into the key everything it depends on (context.backbone.fingerprint,
   dtype, spec name and version, image digests, prompt, scheduler configuration, steps, size, params). Long work
   inside, such as an inversion, is `context.denoise` with a trajectory whose scheduler is `schedulers.INVERSE`: the
   same loop, reported as stage `prepare`.
2. `patch(backbone, trajectories)`, a context manager around the whole denoising of one or several prepared
   trajectories. It installs attention processors and the like with `workers.engine.backbones.patches`, which undo
   themselves, and yields the `Hooks` of this denoising. A processor learns whose rows it sees from
   `Hooks.before_predict(call)`: `call.rows` says which rows are which half of which trajectory, and in
   `trajectory.extra` is what prepare put there. Nothing of a request may stay on the model, and plain requests must
   not notice that adapters are resident.

Where the families enter:

- prior noise: `prepare` changes the starting latents; `patch` does nothing.
- encoder: `prepare` puts the style's keys and values per layer, built once, into `trajectory.extra`; the adapter is
  kept by `backbone.get_or_load(key, build)`, and `patch` installs diffusers' decoupled attention that reads them.
- shared attention: `prepare` runs the reference alone with recording processors and caches keys, values and
  statistics per layer and step; `patch` installs processors that read them for the step each row is at.
- injection: `prepare` inverts style and content as two trajectories of one `context.denoise`, recording per layer
  and timestep; `patch` injects.
- ControlNet: parameters derive from `ControlParams`; `control_picture` returns the map, posted or made, and a made one
  goes into `trajectory.control_map`. `before_predict` puts the residuals into `call.inputs`. Gradient guidance:
  `after_guidance` returns another prediction. Replay of recorded latents: `after_step` replaces `trajectory.latents`.

A style may be prepared before anybody draws in it: `prepare` is then called with an empty prompt and without content
or control picture, for what it leaves in the cache. A technique that cannot do without them has `prepare_style`.

`batch_key(inputs, backbone)` decides which requests may be denoised together: those with equal keys, never None ones.
`strength` is 0..1 for all techniques, 0 equal to plain text-to-image; the spec documents the mapping. A result may
not depend on what it was batched with, beyond rounding. What cannot be done raises `Refused` in words that help.
`prepare` runs under `torch.no_grad`, denoising in inference mode unless `Hooks.wants_gradients`. Techniques are
stateless objects; requests come from several threads.
"""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch

from workers.contract.spec import Params, Spec
from workers.engine import denoise
from workers.engine.backbones.base import Backbone
from workers.engine.cache.style_cache import RequestCache
from workers.engine.denoise import Hooks, Trajectory, Watch
from workers.engine.errors import Refused
from workers.engine.noise import INITIAL, Noise
from workers.engine.types import Pictures

P = TypeVar("P", bound=Params)


@dataclass(frozen=True)
class GenerationInputs:
    """A request as a technique sees it. One prompt and one seed per picture.

    `negative_prompt` None means none was given. `scheduler_config` replaces the base model's own configuration.
    """

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    width: int
    height: int
    steps: int
    guidance_scale: float
    params: Params
    noise: Noise
    strength: float = 1.0
    negative_prompt: str | None = None
    pictures: Pictures = field(default_factory=Pictures)
    style_weights: tuple[float, ...] = ()
    scheduler_config: dict[str, Any] | None = None

    @property
    def guided(self) -> bool:
        """Whether there is classifier-free guidance: an unconditional row for each picture."""
        return self.params.guided(self.guidance_scale)

    @property
    def weights(self) -> tuple[float, ...]:
        """One weight per style picture, summing to 1; equal where the request names none."""
        given = self.style_weights or (1.0,) * len(self.pictures.styles)
        return tuple(weight / sum(given) for weight in given)


@dataclass(frozen=True)
class PrepareContext:
    """What a technique works with while it prepares.

    `weights(id)` returns the folder or file of installed weights by catalogue id, or raises WeightsMissing.
    `watch` is called at each step of work done with `denoise`, and may raise to stop.
    """

    backbone: Backbone
    cache: RequestCache
    weights: Callable[[str], Path]
    watch: Watch = field(default=lambda trajectory: None)

    def denoise(self, trajectories: Sequence[Trajectory], hooks: Hooks | None = None) -> None:
        """Carry trajectories through all their steps, reporting each."""
        denoise.denoise(self.backbone.predict, trajectories, hooks=hooks, watch=self.watch)


class Technique(Protocol):
    """A technique; see the top of this file."""

    spec: Spec

    def batch_key(self, inputs: GenerationInputs, backbone: Backbone) -> Hashable | None:
        """Return what must be equal for two requests to share a batch, or None to run alone."""
        ...

    def prepare(self, inputs: GenerationInputs, context: PrepareContext) -> Trajectory:
        """Return the request's pictures ready to denoise; in the order of the request's seeds."""
        ...

    def patch(self, backbone: Backbone, trajectories: Sequence[Trajectory]) -> AbstractContextManager[Hooks]:
        """Change the model for the denoising of these trajectories, and restore it exactly."""
        ...


@runtime_checkable
class PreparesStyle(Protocol):
    """A technique whose `prepare` needs more than a style: a content picture, or a prompt."""

    def prepare_style(self, inputs: GenerationInputs, context: PrepareContext) -> None:
        """Put into the cache what `prepare` would look for there of the request's style pictures alone."""
        ...


def prepare_style(technique: Technique, inputs: GenerationInputs, context: PrepareContext) -> None:
    """Compute what depends on a request's style alone, into the cache. Raises as the technique's `prepare`."""
    if isinstance(technique, PreparesStyle):
        technique.prepare_style(inputs, context)
    else:
        technique.prepare(inputs, context)


def params_as(inputs: GenerationInputs, kind: type[P]) -> P:
    """Return the request's parameters as the technique's own class."""
    assert isinstance(inputs.params, kind)
    return inputs.params


def text_to_image_batch_key(inputs: GenerationInputs, backbone: Backbone) -> Hashable:
    """Return the batch key of text-to-image: same model, same latent size. Steps and guidance may differ."""
    return backbone.name, inputs.width, inputs.height


def check_size(inputs: GenerationInputs, backbone: Backbone) -> None:
    """Raise Refused unless the base model can make pictures of the request's size."""
    multiple = backbone.size_multiple
    if inputs.width % multiple or inputs.height % multiple:
        raise Refused(
            f"width and height must be multiples of {multiple} on {backbone.name}, not {inputs.width}x{inputs.height}"
        )


def text_to_image(
    inputs: GenerationInputs, context: PrepareContext, *, sampler: str = "ddim", unit_noise: torch.Tensor | None = None
) -> Trajectory:
    """Return the trajectory of ordinary text-to-image.

    `unit_noise` (n, channels, h, w), float32 at unit scale, replaces the noise drawn from the seeds.
    """
    backbone = context.backbone
    check_size(inputs, backbone)
    scheduler = backbone.build_scheduler(
        sampler, inputs.steps, width=inputs.width, height=inputs.height, config=inputs.scheduler_config
    )
    positive, negative = backbone.condition(
        inputs.prompts,
        inputs.negative_prompt,
        guided=inputs.guided,
        width=inputs.width,
        height=inputs.height,
    )
    if unit_noise is None:
        unit_noise = inputs.noise.normal(INITIAL, backbone.latent_shape(inputs.width, inputs.height))
    return Trajectory(
        latents=backbone.initial_latents(unit_noise, scheduler),
        scheduler=scheduler,
        positive=positive,
        negative=negative,
        guidance_scale=inputs.guidance_scale,
        seeds=inputs.seeds,
    )
