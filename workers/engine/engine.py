"""Requests in, pictures out: what may be denoised together is, and what does not fit at once is cut smaller.

engine = Engine(pool=pool, cache=cache, technique=registry.technique, weights=locate)
rendered = engine.stylize(request, pictures, watch=watch)
"""

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from model_store.catalogue.entry import Base
from workers.contract.jobs.models import Request, Terms
from workers.contract.styles.precompute import precompute_key
from workers.engine import batch, device, memory
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.latent_preview import projection, sketching
from workers.engine.backbones.lora_stack import Finder, apply_loras
from workers.engine.backbones.pool import BackboneCache
from workers.engine.batch import Part
from workers.engine.cache.precomputed import PrecomputedStyles
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.errors import DeviceLost, OutOfMemory, WeightsMissing
from workers.engine.inputs import generation_inputs
from workers.engine.progress import EngineObserver, ProgressReporter, prepare_share
from workers.engine.technique import Technique
from workers.engine.types import GenerationResult, Pictures, Watcher, Work

MOST_PICTURES = 64


@dataclass(frozen=True)
class Admitted:
    """A request whose model is warm and whose inputs are in order."""

    backbone: Backbone
    technique: Technique
    part: Part
    request: Request

    @property
    def key(self) -> Hashable:
        """Equal for requests that may share a batch."""
        key = None if self.part.style_only else self.technique.batch_key(self.part.inputs, self.backbone)
        if key is None:
            return id(self.part)
        return self.technique.spec.name, self.backbone.name, self.part.inputs.params.loras, key


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

    def stylize(self, request: Request, pictures: Pictures, *, watch: Watcher) -> GenerationResult:
        """Return the pictures of one request. Raises Refused, or whatever `watch` raised."""
        [outcome] = self.stylize_together([Work(request, pictures, watch)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def stylize_together(self, works: Sequence[Work]) -> list[GenerationResult | Exception]:
        """Return the outcome of each request, in order; requests with equal batch keys are denoised together.

        One request's failure or cancellation is its own outcome and does not touch the others. When the device is lost,
        the outcome of those that it had is DeviceLost.
        """
        admitted = [self._admit(work) for work in works]
        groups: dict[Hashable, list[Admitted]] = {}
        for one in admitted:
            if isinstance(one, Admitted):
                groups.setdefault(one.key, []).append(one)
        for group in groups.values():
            self._run_group(group[0].backbone, group[0].technique, [one.part for one in group])
        outcomes = (one if isinstance(one, Exception) else self._outcome(one) for one in admitted)
        return [device.verdict(one) if isinstance(one, Exception) else one for one in outcomes]

    def _admit(self, work: Work) -> Admitted | Exception:
        meter = ProgressReporter(work.watch, work.span)
        try:
            meter.report("load")
            technique = self._technique(work.request.method)
            with meter.stage("load"):
                backbone = self.pool.get(work.request.model)
            inputs = generation_inputs(work.request, work.pictures, technique.spec, backbone.base)
        except Exception as failure:  # noqa: BLE001 - whatever one request's failure is, it is that request's own
            return failure
        meter.set_prepare_share(prepare_share(technique.spec, inputs))
        cache = RequestCache(self.cache, work.request.style_images)
        fitted = projection(backbone) if work.show else None
        show = sketching(fitted, work.show, meter) if fitted and work.show else None
        part = Part(inputs, meter, cache, style_only=work.request.prepares_style, show=show)
        return Admitted(backbone, technique, part, work.request)

    def _run_group(self, backbone: Backbone, technique: Technique, parts: Sequence[Part]) -> None:
        """Run parts as one batch, but those that alone have more pictures than may be denoised together in pieces."""
        if fitting := [part for part in parts if len(part.inputs.seeds) <= self._most_pictures]:
            self._run(backbone, technique, fitting)
        for part in parts:
            if len(part.inputs.seeds) > self._most_pictures:
                self._run_pieces(backbone, technique, part, part.pieces(self._most_pictures))

    def _run_pieces(self, backbone: Backbone, technique: Technique, part: Part, pieces: Sequence[Part]) -> None:
        """Run a part piece after piece, as far as they succeed."""
        for number, piece in enumerate(pieces):
            with part.meter.sub_range(number, len(pieces)):
                self._run(backbone, technique, [piece])
            if piece.failure is not None:
                break
        part.join(pieces)

    def _run(self, backbone: Backbone, technique: Technique, parts: Sequence[Part]) -> None:
        """Run parts as one batch; where it fails, one after the other; where memory is short, in smaller pieces."""
        with backbone.lock:
            try:
                _require_memory(backbone, parts)
                with self._observed(technique, parts), self._loras(backbone, parts):
                    batch.run(backbone, technique, parts, self._weights)
                return
            except (torch.OutOfMemoryError, OutOfMemory) as full:
                self._observer.ran_out_of_memory()
                failure: Exception = OutOfMemory(str(full))
            except Exception as fault:  # noqa: BLE001 - whatever it is, it is the fault of one of these parts
                failure = device.verdict(fault)
            self._divide(backbone, technique, parts, failure)

    def _divide(self, backbone: Backbone, technique: Technique, parts: Sequence[Part], failure: Exception) -> None:
        """Try again in smaller pieces what failed as a batch."""
        if isinstance(failure, OutOfMemory) and backbone.device.type == "cuda":
            torch.cuda.empty_cache()
        if isinstance(failure, DeviceLost):
            for part in parts:
                part.failure = failure
        elif len(parts) > 1:
            for part in parts:
                self._run(backbone, technique, [part])
        elif isinstance(failure, OutOfMemory) and len(parts[0].inputs.seeds) > 1:
            half = (len(parts[0].inputs.seeds) + 1) // 2
            self._run_pieces(backbone, technique, parts[0], parts[0].pieces(half))
        else:
            parts[0].failure = failure

    def _outcome(self, admitted: Admitted) -> GenerationResult | Exception:
        part = admitted.part
        if part.failure is not None:
            return part.failure
        if part.style_only:
            self.prepared.note(precompute_key(admitted.request), part.cache.keys)
        seconds = dict(part.meter.seconds)
        return GenerationResult(
            pictures=part.pictures,
            seeds=part.inputs.seeds[: admitted.request.num_images],
            timings=seconds,
            device_seconds=sum(seconds.get(stage, 0.0) for stage in ("prepare", "denoise", "decode")),
            style_cache=part.cache.outcome,
            licences=self._licences(admitted),
        )

    def _licences(self, admitted: Admitted) -> tuple[Terms, ...]:
        """Return the terms of all that made a request's pictures."""
        if self._terms is None:
            return ()
        spec, inputs = admitted.technique.spec, admitted.part.inputs
        used = [admitted.backbone.name, *admitted.part.used, *(one.id for one in inputs.params.loras)]
        method = Terms(id=spec.name, kind="method", notes=spec.rights)
        return (*map(self._terms, dict.fromkeys(used)), method)

    @contextmanager
    def _loras(self, backbone: Backbone, parts: Sequence[Part]) -> Iterator[None]:
        """Run the model with the LoRAs that all parts ask for."""
        with ExitStack() as stack:
            with batch.timed(parts, "prepare"):
                stack.enter_context(apply_loras(backbone, parts[0].inputs.params.loras, self._find_lora))
            yield

    @contextmanager
    def _observed(self, technique: Technique, parts: Sequence[Part]) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            pictures = sum(len(part.inputs.seeds) for part in parts if not part.style_only)
            self._observer.ran(technique.spec.name, pictures, time.perf_counter() - began)


def _no_lora(model: str, base: Base) -> Path:
    raise WeightsMissing(f"no LoRA named {model}: this engine has none")


def _require_memory(backbone: Backbone, parts: Sequence[Part]) -> None:
    inputs = parts[0].inputs
    rows = sum(part.rows for part in parts)
    needed = backbone.estimate_memory(rows=rows, width=inputs.width, height=inputs.height)
    memory.require(needed.peak, backbone.device)
