"""Requests in, pictures out: what may be denoised together is, and what does not fit at once is cut smaller.

engine = DiffusionEngine(pool=pool, cache=cache, technique=registry.technique, weights=locate)
result = engine.stylize(request, pictures, watch=watch)
"""

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from model_store.catalogue.entry import Base
from workers.contract.jobs.models import GenerationRequest, PrecomputeRequest, Terms
from workers.contract.spec import Spec
from workers.contract.styles.precompute import precompute_key
from workers.engine import batch, device, memory
from workers.engine.backbones import latent_preview
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.loras.stack import Finder, apply_loras
from workers.engine.backbones.pool import BackboneCache
from workers.engine.cache.precomputed import PrecomputedStyles
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.errors import DeviceLost, OutOfMemory, WeightsMissing
from workers.engine.inputs import generation_inputs, reduced_weights, unread_texts
from workers.engine.progress import EngineObserver, ProgressReporter, prepare_share
from workers.engine.technique import Technique
from workers.engine.types import BatchItem, GenerationResult, Pictures, Watcher

MOST_PICTURES = 64


class DiffusionEngine:
    """Runs requests on warm base models. Safe for threads: a base model serves one batch at a time."""

    def __init__(
        self,
        *,
        pool: BackboneCache,
        cache: StyleCache,
        technique: Callable[[str], Technique],
        weights: Callable[[str], Path],
        find_lora: Finder | None = None,
        terms: Callable[[str], Terms] | None = None,
        observer: EngineObserver | None = None,
        most_pictures: int = MOST_PICTURES,
    ) -> None:
        """`weights` finds what techniques need by catalogue id, `find_lora` an installed LoRA; without it, none is.

        `terms` returns the licence of a catalogue id; without it, no licences are told. A request with more than
        `most_pictures` is denoised in pieces of so many: a batch changes low bits, so with 1 a seed always gives the
        same bytes.
        """
        self.pool = pool
        self.cache = cache
        self.prepared = PrecomputedStyles(cache)
        self._technique = technique
        self._weights = weights
        self._find_lora = find_lora or _no_lora
        self._terms = terms
        self._observer = observer or EngineObserver()
        self._most_pictures = most_pictures

    def stylize(self, request: GenerationRequest, pictures: Pictures, *, watch: Watcher) -> GenerationResult:
        """Return the pictures of one request. Raises Refused, or whatever `watch` raised."""
        [outcome] = self.run_batch([BatchItem(request, pictures, watch)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def run_batch(self, items: Sequence[BatchItem]) -> list[GenerationResult | Exception]:
        """Return the outcome of each request, in order; requests with equal batch keys are denoised together.

        One request's failure or cancellation is its own outcome and does not touch the others. When the device is lost,
        the outcome of those that it had is DeviceLost.
        """
        groups: dict[Hashable, list[BatchItem]] = {}
        models: dict[Hashable, tuple[Backbone, Technique]] = {}
        for item in items:
            try:
                technique = self._technique(item.request.method)
                backbone = self._load(item, technique.spec)
                key = _batch_key(item, technique, backbone)
                groups.setdefault(key, []).append(item)
                models[key] = backbone, technique
            except Exception as failure:  # noqa: BLE001 - whatever one request's failure is, it is that request's own
                item.failure = failure
        for key, group in groups.items():
            self._run_group(*models[key], group)
        return [self._outcome(item) if item.failure is None else device.verdict(item.failure) for item in items]

    def _load(self, item: BatchItem, spec: Spec) -> Backbone:
        """Return the request's warm base model, its inputs put in order. Raises Refused."""
        item.failure, item.used = None, {}
        item.progress = ProgressReporter(item.watch, item.span)
        item.progress.report("load")
        with item.progress.stage("load"):
            backbone = self.pool.get(item.request.model)
            if item.on_preview:
                latent_preview.projection(backbone)  # before LoRAs and processors are on the model
        item.inputs = generation_inputs(item.request, item.pictures, spec, backbone.base)
        item.weight_storage = backbone.weight_storage
        item.warnings = (*unread_texts(item.inputs, backbone), *reduced_weights(backbone))
        item.progress.set_prepare_share(prepare_share(spec, item.inputs))
        item.cache = RequestCache(self.cache, item.request.style_images)
        return backbone

    def _run_group(self, backbone: Backbone, technique: Technique, items: Sequence[BatchItem]) -> None:
        """Run items as one batch, but those that alone have more pictures than may be denoised together in pieces."""
        if fitting := [item for item in items if len(item.inputs.seeds) <= self._most_pictures]:
            self._run(backbone, technique, fitting)
        for item in items:
            if len(item.inputs.seeds) > self._most_pictures:
                self._run_pieces(backbone, technique, item, self._most_pictures)

    def _run_pieces(self, backbone: Backbone, technique: Technique, item: BatchItem, most: int) -> None:
        """Run an item in pieces of at most so many pictures, one after the other, as far as they succeed."""
        pieces = batch.split(item, most)
        for number, piece in enumerate(pieces):
            with item.progress.sub_range(number, len(pieces)):
                self._run(backbone, technique, [piece])
            if piece.failure is not None:
                break
        batch.join(item, pieces)

    def _run(self, backbone: Backbone, technique: Technique, items: Sequence[BatchItem]) -> None:
        """Run items as one batch; where it fails, one after the other; where memory is short, in smaller pieces."""
        with backbone.lock:
            try:
                _require_memory(backbone, items)
                with self._observed(technique, items), self._loras(backbone, items):
                    batch.run(backbone, technique, items, self._weights)
                return
            except (torch.OutOfMemoryError, OutOfMemory) as full:
                self._observer.ran_out_of_memory()
                # another error, for this one's traceback holds the tensors of what failed
                failure: Exception = OutOfMemory(str(full), lacking=getattr(full, "lacking", 0))
            except Exception as fault:  # noqa: BLE001 - whatever it is, it is the fault of one of these items
                failure = device.verdict(fault)
            self._divide(backbone, technique, items, failure)

    def _divide(self, backbone: Backbone, technique: Technique, items: Sequence[BatchItem], failure: Exception) -> None:
        """Try again what failed as a batch: with fewer models beside it where memory is short, else in pieces."""
        if isinstance(failure, OutOfMemory) and backbone.device.type == "cuda":
            torch.cuda.empty_cache()
        if isinstance(failure, DeviceLost):
            for item in items:
                item.failure = failure
        elif isinstance(failure, OutOfMemory) and self.pool.release_other(backbone.name, failure.lacking):
            self._run(backbone, technique, items)
        elif len(items) > 1:
            for item in items:
                self._run(backbone, technique, [item])
        elif isinstance(failure, OutOfMemory) and len(items[0].inputs.seeds) > 1:
            half = (len(items[0].inputs.seeds) + 1) // 2
            self._run_pieces(backbone, technique, items[0], half)
        else:
            items[0].failure = failure

    def _outcome(self, item: BatchItem) -> GenerationResult:
        if isinstance(item.request, PrecomputeRequest):
            self.prepared.note(precompute_key(item.request), item.cache.keys)
        seconds = dict(item.progress.seconds)
        return GenerationResult(
            pictures=item.images,
            seeds=item.inputs.seeds[: len(item.images)],
            timings=seconds,
            device_seconds=sum(seconds.get(stage, 0.0) for stage in ("prepare", "denoise", "decode")),
            style_cache=item.cache.outcome,
            licences=self._licences(item),
            warnings=item.warnings,
            weight_storage=item.weight_storage,
            control_map=item.control_map,
        )

    def _licences(self, item: BatchItem) -> tuple[Terms, ...]:
        """Return the terms of all that made a request's pictures."""
        if self._terms is None:
            return ()
        spec = self._technique(item.request.method).spec
        used = [item.request.model, *item.used, *(one.id for one in item.inputs.params.loras)]
        method = Terms(id=spec.name, kind="method", notes=spec.rights)
        return (*map(self._terms, dict.fromkeys(used)), method)

    @contextmanager
    def _loras(self, backbone: Backbone, items: Sequence[BatchItem]) -> Iterator[None]:
        """Run the model with the LoRAs that all items ask for."""
        with ExitStack() as stack:
            with batch.timed(items, "prepare"):
                stack.enter_context(apply_loras(backbone, items[0].inputs.params.loras, self._find_lora))
            yield

    @contextmanager
    def _observed(self, technique: Technique, items: Sequence[BatchItem]) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            pictures = sum(len(item.inputs.seeds) for item in items if not isinstance(item.request, PrecomputeRequest))
            self._observer.ran(technique.spec.name, pictures, time.perf_counter() - began)


def _batch_key(item: BatchItem, technique: Technique, backbone: Backbone) -> Hashable:
    """Return what is equal for requests that may share a batch."""
    if isinstance(item.request, PrecomputeRequest):
        return id(item)
    key = technique.batch_key(item.inputs, backbone)
    return id(item) if key is None else (technique.spec.name, backbone.name, item.inputs.params.loras, key)


def _no_lora(model: str, base: Base) -> Path:
    raise WeightsMissing(f"no LoRA named {model}: this engine has none")


def _require_memory(backbone: Backbone, items: Sequence[BatchItem]) -> None:
    inputs = items[0].inputs
    rows = sum(item.rows for item in items)
    width, height = inputs.params.denoised_size(inputs.width, inputs.height)
    needed = backbone.estimate_memory(rows=rows, width=width, height=height)
    memory.require(needed.peak, backbone.device)
