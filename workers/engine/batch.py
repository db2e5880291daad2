"""Some requests of one technique on one base model, prepared each and denoised as one batch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from workers.engine.backbones.base import Backbone
from workers.engine.cache.style_cache import RequestCache
from workers.engine.denoise import Trajectory, denoise
from workers.engine.errors import NotFinite
from workers.engine.images import from_signed
from workers.engine.inputs import pieces
from workers.engine.progress import ProgressReporter, Stage
from workers.engine.technique import GenerationInputs, PrepareContext, Technique, prepare_style


@dataclass
class Part:
    """A request, or some of its pictures, while it runs; in the end it has all its pictures or a failure.

    One that is `style_only` has no pictures: it computes what depends on the style, for later requests.
    `used` names the weights that its technique asked for, in order. `show` is called after each of its own steps.
    """

    inputs: GenerationInputs
    meter: ProgressReporter
    cache: RequestCache
    style_only: bool = False
    show: Callable[[Trajectory], None] | None = None
    used: dict[str, None] = field(default_factory=dict)
    trajectory: Trajectory | None = None
    pictures: list[Image.Image] = field(default_factory=list)
    failure: Exception | None = None

    @property
    def rows(self) -> int:
        """Rows of the denoiser's call per step."""
        return len(self.inputs.seeds) * (2 if self.inputs.guidance_scale > 1 else 1)

    def attempt(self, action: Callable[[], None]) -> None:
        """Do something for this request alone: its failure is kept and does not touch the others of the batch."""
        try:
            action()
        except torch.OutOfMemoryError:
            raise
        except Exception as failure:  # noqa: BLE001 - whatever one request's failure is, it is that request's own
            self.failure = failure
            if self.trajectory is not None:
                self.trajectory.stopped = True

    def pieces(self, most: int) -> list["Part"]:
        """Return parts of at most so many pictures each."""
        orders = pieces(self.inputs, most)
        return [replace(self, inputs=inputs, trajectory=None, pictures=[], failure=None) for inputs in orders]

    def join(self, parts: Sequence["Part"]) -> None:
        """Take over what became of the parts that this one was split into."""
        self.pictures = [picture for part in parts for picture in part.pictures]
        self.failure = next((part.failure for part in parts if part.failure is not None), None)


def run(backbone: Backbone, technique: Technique, parts: Sequence[Part], weights: Callable[[str], Path]) -> None:
    """Carry parts with equal batch keys from order to pictures. Raises torch.OutOfMemoryError, all parts undone."""
    for part in parts:
        part.trajectory, part.pictures = None, []
        with part.meter.stage("prepare"):
            part.attempt(partial(_prepare, part, backbone, technique, weights))
    ready = {part.trajectory: part for part in parts if part.trajectory is not None and part.failure is None}
    if ready:
        _denoise(backbone, technique, ready)
    for trajectory, part in ready.items():
        if part.failure is None:
            with part.meter.stage("decode"):
                part.attempt(partial(_decode, part, backbone, trajectory))


def _prepare(part: Part, backbone: Backbone, technique: Technique, weights: Callable[[str], Path]) -> None:
    part.meter.report("prepare")

    def noted(model: str) -> Path:
        found = weights(model)
        part.used[model] = None
        return found

    context = PrepareContext(backbone, part.cache, noted, part.meter.preparing)
    with torch.no_grad():
        if part.style_only:
            prepare_style(technique, part.inputs, context)
        else:
            part.trajectory = technique.prepare(part.inputs, context)


def _denoise(backbone: Backbone, technique: Technique, ready: dict[Trajectory, Part]) -> None:
    def watch(trajectory: Trajectory) -> None:
        part = ready[trajectory]
        part.attempt(partial(part.meter.denoising, trajectory))
        if part.show is not None and trajectory.step and not trajectory.stopped:
            part.show(trajectory)

    with timed(ready.values(), "denoise"), technique.patch(backbone, list(ready)) as hooks:
        denoise(backbone.predict, list(ready), hooks=hooks, watch=watch)


@contextmanager
def timed(parts: Iterable[Part], stage: Stage) -> Iterator[None]:
    """Time a stage that parts share; it counts in full for each."""
    with ExitStack() as stages:
        for part in parts:
            stages.enter_context(part.meter.stage(stage))
        yield


@torch.no_grad()
def _decode(part: Part, backbone: Backbone, trajectory: Trajectory) -> None:
    count = len(trajectory.latents)
    for n, latents in enumerate(trajectory.latents):
        part.meter.report("decode", n, count)
        decoded = backbone.decode(latents[None])
        if not (latents.isfinite().all() and decoded.isfinite().all()):  # clamped, they would be a black picture
            used = " with ".join([backbone.name, *(lora.id for lora in part.inputs.params.loras)])
            raise NotFinite(f"{used} gave values that are not finite: its weights are damaged or too large")
        part.pictures.append(Image.fromarray(from_signed(decoded)[0]))
    part.meter.report("decode", count, count)
