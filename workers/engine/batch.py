"""Some requests of one technique on one base model, prepared each and denoised as one batch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from workers.contract.jobs.models import PrecomputeRequest
from workers.engine.backbones import latent_preview
from workers.engine.backbones.base import Backbone
from workers.engine.denoise import Trajectory, denoise
from workers.engine.errors import NotFinite, OutOfMemory
from workers.engine.images import from_signed
from workers.engine.inputs import pieces
from workers.engine.progress import Stage
from workers.engine.technique import PrepareContext, Technique, prepare_style
from workers.engine.types import BatchItem


def attempt(item: BatchItem, action: Callable[[], None]) -> None:
    """Do something for one request alone: its failure is kept and does not touch the others of the batch."""
    try:
        action()
    except (torch.OutOfMemoryError, OutOfMemory):
        raise
    except Exception as failure:  # noqa: BLE001 - whatever one request's failure is, it is that request's own
        item.failure = failure
        if item.trajectory is not None:
            item.trajectory.stopped = True


def split(item: BatchItem, most: int) -> list[BatchItem]:
    """Return a request as items of at most so many pictures each."""
    parts = []
    for inputs in pieces(item.inputs, most):
        part = copy(item)
        part.inputs, part.trajectory, part.images, part.failure = inputs, None, [], None
        parts.append(part)
    return parts


def join(item: BatchItem, parts: Sequence[BatchItem]) -> None:
    """Take over what became of the items that this one was split into."""
    item.images = [image for part in parts for image in part.images]
    item.control_map = next((part.control_map for part in parts if part.control_map is not None), None)
    item.failure = next((part.failure for part in parts if part.failure is not None), None)


def run(backbone: Backbone, technique: Technique, items: Sequence[BatchItem], weights: Callable[[str], Path]) -> None:
    """Carry items with equal batch keys from order to pictures. Raises torch.OutOfMemoryError, all items undone."""
    for item in items:
        item.trajectory, item.images = None, []
        with item.progress.stage("prepare"):
            attempt(item, partial(_prepare, item, backbone, technique, weights))
    ready = {item.trajectory: item for item in items if item.trajectory is not None and item.failure is None}
    if ready:
        _denoise(backbone, technique, ready)
    for trajectory, item in ready.items():
        if item.failure is None:
            with item.progress.stage("decode"):
                attempt(item, partial(_decode, item, backbone, trajectory))


def _prepare(item: BatchItem, backbone: Backbone, technique: Technique, weights: Callable[[str], Path]) -> None:
    item.progress.report("prepare")

    def noted(model: str) -> Path:
        found = weights(model)
        item.used[model] = None
        return found

    context = PrepareContext(backbone, item.cache, noted, item.progress.preparing)
    with torch.no_grad():
        if isinstance(item.request, PrecomputeRequest):
            prepare_style(technique, item.inputs, context)
        else:
            item.trajectory = technique.prepare(item.inputs, context)
            item.control_map = item.trajectory.control_map


def _denoise(backbone: Backbone, technique: Technique, ready: dict[Trajectory, BatchItem]) -> None:
    def watch(trajectory: Trajectory) -> None:
        item = ready[trajectory]
        attempt(item, partial(item.progress.denoising, trajectory))
        if item.on_preview and trajectory.step and not trajectory.stopped:
            frame = latent_preview.frame(backbone, trajectory, item.progress.step)
            if frame is not None:
                item.on_preview(frame)

    with timed(ready.values(), "denoise"), technique.patch(backbone, list(ready)) as hooks:
        denoise(backbone.predict, list(ready), hooks=hooks, watch=watch)


@contextmanager
def timed(items: Iterable[BatchItem], stage: Stage) -> Iterator[None]:
    """Time a stage that items share; it counts in full for each."""
    with ExitStack() as stages:
        for item in items:
            stages.enter_context(item.progress.stage(stage))
        yield


@torch.no_grad()
def _decode(item: BatchItem, backbone: Backbone, trajectory: Trajectory) -> None:
    count = len(trajectory.latents)
    for n, latents in enumerate(trajectory.latents):
        item.progress.report("decode", n, count)
        decoded = backbone.decode(latents[None])
        if not (latents.isfinite().all() and decoded.isfinite().all()):  # clamped, they would be a black picture
            used = " with ".join([backbone.name, *(lora.id for lora in item.inputs.params.loras)])
            raise NotFinite(f"{used} gave values that are not finite: its weights are damaged or too large")
        picture = Image.fromarray(from_signed(decoded)[0])
        item.images.append(trajectory.finish(picture) if trajectory.finish else picture)
    item.progress.report("decode", count, count)
