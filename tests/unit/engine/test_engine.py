"""The engine on the real technique and tiny model: outcomes, batching, cancellation, memory, progress."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from workers.contract.jobs.models import PrecomputeRequest, Progress, StylizeRequest
from workers.contract.styles.precompute import precompute_key
from workers.engine import batch, device, memory
from workers.engine.backbones.pool import BackboneCache
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.engine import DiffusionEngine
from workers.engine.errors import DeviceLost, NotFinite, OutOfMemory, Refused
from workers.engine.technique import Pictures
from workers.engine.types import BatchItem, PreviewFrame
from workers.techniques import registry


def quiet(progress: Progress) -> None:
    pass


def picture(seed: int = 0, size: tuple[int, int] = (80, 64)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def request(**more: object) -> StylizeRequest:
    fields: dict[str, object] = {
        "method": "signal-leak",
        "model": "sd15",
        "prompt": "a red house",
        "style_images": ("0" * 64,),
        "seed": 1,
        "width": 64,
        "height": 64,
        "steps": 2,
        "guidance_scale": 5.0,
        "strength": 1.0,
    }
    return StylizeRequest.model_validate(fields | more)


def engine_of(sd15: StableDiffusion, **more: int) -> DiffusionEngine:
    def weights(name: str) -> Path:
        raise Refused(name)

    pool = BackboneCache(lambda model: sd15)
    cache = StyleCache([MemoryTier("host", 1 << 28)])
    return DiffusionEngine(pool=pool, cache=cache, technique=registry.technique, weights=weights, **more)


@pytest.fixture
def engine(sd15: StableDiffusion) -> DiffusionEngine:
    return engine_of(sd15)


STYLE = Pictures(styles=(picture(),))


def test_a_request_becomes_pictures(engine: DiffusionEngine) -> None:
    seen: list[Progress] = []
    rendered = engine.stylize(request(num_images=2), STYLE, watch=seen.append)
    assert [one.size for one in rendered.pictures] == [(64, 64)] * 2
    assert rendered.seeds == (1, 2)
    assert rendered.style_cache == "miss"
    assert set(rendered.timings) == {"load", "prepare", "denoise", "decode"}
    assert rendered.device_seconds > 0
    assert [(p.stage, p.step) for p in seen if p.stage == "denoise"] == [("denoise", 0), ("denoise", 1), ("denoise", 2)]
    fractions = [p.fraction for p in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(0.99)
    assert engine.stylize(request(), STYLE, watch=quiet).style_cache == "hit"


def test_a_style_is_precomputed_for_later_requests(engine: DiffusionEngine) -> None:
    seen: list[Progress] = []
    settings = {"method": "style-aligned", "width": 128, "height": 128}
    drawn = request(**settings).model_dump(include=set(PrecomputeRequest.model_fields))
    asked = PrecomputeRequest.model_validate(drawn)
    rendered = engine.stylize(asked, STYLE, watch=seen.append)
    assert (rendered.pictures, rendered.seeds, rendered.style_cache) == ([], (), "miss")
    assert set(rendered.timings) == {"load", "prepare"}
    assert {progress.stage for progress in seen} == {"load", "prepare"}
    assert engine.prepared.held() == {precompute_key(asked)}
    assert engine.stylize(request(**settings), STYLE, watch=quiet).style_cache == "hit"
    assert engine.prepared.held() == {precompute_key(asked)}, "of what jobs leave nobody tells"
    engine.cache.clear()
    assert engine.prepared.held() == set()


def test_the_same_request_gives_the_same_bytes(engine: DiffusionEngine) -> None:
    one, two = (engine.stylize(request(), STYLE, watch=quiet).pictures[0].tobytes() for _ in range(2))
    assert one == two


def test_each_picture_of_a_request_can_be_had_alone(engine: DiffusionEngine) -> None:
    together = engine.stylize(request(num_images=3), STYLE, watch=quiet)
    alone = engine.stylize(request(seed=3), STYLE, watch=quiet)
    both = (np.asarray(one.pictures[n], dtype=int) for one, n in ((together, 2), (alone, 0)))
    assert np.abs(np.subtract(*both)).max() <= 1


@pytest.mark.parametrize("method", ["signal-leak", "style-aligned"])
def test_where_pictures_are_made_one_by_one_each_has_the_bytes_that_it_has_alone(
    sd15: StableDiffusion, method: str
) -> None:
    engine = engine_of(sd15, most_pictures=1)
    seen: list[Progress] = []
    large = {"method": method, "width": 128, "height": 128}
    asked = request(num_images=3, **large)
    (together,) = engine.run_batch([BatchItem(asked, STYLE, seen.append, on_preview=lambda sketch: None)])
    assert not isinstance(together, Exception), together
    for n, seed in enumerate(together.seeds):
        alone = engine.stylize(request(seed=seed, **large), STYLE, watch=quiet)
        assert alone.pictures[0].tobytes() == together.pictures[n].tobytes(), f"picture {n}"
    denoised = [(one.step, one.steps) for one in seen if one.stage == "denoise"]
    assert denoised == [(n, 6) for n in (0, 1, 2, 2, 3, 4, 4, 5, 6)]
    fractions = [one.fraction for one in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(0.99)


def test_a_request_that_is_stopped_makes_none_of_its_other_pictures(sd15: StableDiffusion) -> None:
    with pytest.raises(InterruptedError):
        engine_of(sd15, most_pictures=1).stylize(request(num_images=3), STYLE, watch=stop_at("denoise", 3))


def test_compatible_requests_share_a_batch_and_others_do_not(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = batch.run

    def counting(backbone: object, technique: object, parts: list[object], weights: object) -> None:
        sizes.append(len(parts))
        real(backbone, technique, parts, weights)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "run", counting)
    asked = [request(), request(seed=5, guidance_scale=1.0, steps=3), request(width=128)]
    outcomes = engine.run_batch([BatchItem(one, STYLE, quiet) for one in asked])
    assert sorted(sizes) == [1, 2]
    for one, outcome in zip(asked, outcomes, strict=True):
        alone = engine.stylize(one, STYLE, watch=quiet).pictures[0]
        assert not isinstance(outcome, Exception)
        assert np.abs(np.asarray(outcome.pictures[0], dtype=int) - np.asarray(alone, dtype=int)).max() <= 1


def stop_at(stage: str, step: int = 0) -> Callable[[Progress], None]:
    def watch(progress: Progress) -> None:
        if (progress.stage, progress.step) == (stage, step):
            raise InterruptedError(stage)
        assert progress.stage != stage or progress.step < step, "went on after it was stopped"

    return watch


@pytest.mark.parametrize(
    ("stage", "step"), [("load", 0), ("prepare", 0), ("denoise", 0), ("denoise", 1), ("decode", 0)]
)
def test_a_canceled_request_stops_at_once_and_its_partner_goes_on(
    engine: DiffusionEngine, stage: str, step: int
) -> None:
    works = [BatchItem(request(), STYLE, stop_at(stage, step)), BatchItem(request(seed=9), STYLE, quiet)]
    canceled, other = engine.run_batch(works)
    assert isinstance(canceled, InterruptedError)
    assert not isinstance(other, Exception)
    with pytest.raises(InterruptedError):
        engine.stylize(request(), STYLE, watch=stop_at(stage, step))


@pytest.mark.parametrize(
    ("asked", "pictures", "text"),
    [
        (request(), Pictures(), "takes 1 to 4 style images, not 0"),
        (request(params={"no_such": 1}), STYLE, "no_such"),
        (request(params={"leak_scale": 9}), STYLE, "leak_scale"),
        (request(width=60), STYLE, "multiples of 8"),
        (request(params={"statistics": "sky"}), Pictures(), "sky"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    engine: DiffusionEngine, asked: StylizeRequest, pictures: Pictures, text: str
) -> None:
    with pytest.raises(Refused, match=text):
        engine.stylize(asked, pictures, watch=quiet)


def test_what_does_not_fit_at_once_is_done_in_pieces(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = engine.stylize(request(num_images=3), STYLE, watch=quiet)
    needed = engine.pool.get("sd15").estimate_memory(rows=2, width=64, height=64)
    monkeypatch.setattr(memory, "available", lambda device: int(needed.peak * 1.1))
    pieces = engine.stylize(request(num_images=3), STYLE, watch=quiet)
    assert pieces.seeds == whole.seeds
    for one, other in zip(whole.pictures, pieces.pictures, strict=True):
        assert np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max() <= 1


def test_memory_that_runs_out_midway_is_met_with_smaller_batches(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = batch.run

    def tight(backbone: object, technique: object, parts: list[BatchItem], weights: object) -> None:
        if sum(part.rows for part in parts) > 2:
            raise torch.OutOfMemoryError("full")
        real(backbone, technique, parts, weights)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "run", tight)
    works = [BatchItem(request(num_images=2), STYLE, quiet), BatchItem(request(seed=9), STYLE, quiet)]
    outcomes = engine.run_batch(works)
    assert [len(one.pictures) for one in outcomes if not isinstance(one, Exception)] == [2, 1]


def test_one_picture_that_does_not_fit_is_refused(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 1000)
    with pytest.raises(OutOfMemory, match="GiB are free"):
        engine.stylize(request(), STYLE, watch=quiet)


def test_a_model_that_fails_for_one_request_fails_it_alone(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = batch.run

    def broken(backbone: object, technique: object, parts: list[BatchItem], weights: object) -> None:
        if any(part.inputs.seeds == (9,) for part in parts):
            raise RuntimeError("shapes do not match")
        real(backbone, technique, parts, weights)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "run", broken)
    sound, fault = engine.run_batch([BatchItem(request(seed=seed), STYLE, quiet) for seed in (1, 9)])
    assert not isinstance(sound, Exception)
    assert isinstance(fault, RuntimeError)


def test_a_lost_device_is_told_to_all_that_it_had(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def broken(backbone: object, technique: object, parts: list[BatchItem], weights: object) -> None:
        tries.append(len(parts))
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(batch, "run", broken)
    monkeypatch.setattr(device, "works", lambda: False)
    outcomes = engine.run_batch([BatchItem(request(seed=seed), STYLE, quiet) for seed in (1, 9)])
    assert [type(outcome) for outcome in outcomes] == [DeviceLost, DeviceLost]
    assert tries == [2]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_no_picture(
    engine: DiffusionEngine, sd15: StableDiffusion, value: float
) -> None:
    weight = sd15.denoiser.mid_block.resnets[0].conv1.weight
    kept = weight.detach().clone()
    shown: list[PreviewFrame] = []
    work = BatchItem(request(num_images=2), STYLE, lambda _: None, on_preview=shown.append)
    try:
        with torch.no_grad():
            weight.fill_(value)
        (outcome,) = engine.run_batch([work])
    finally:
        with torch.no_grad():
            weight.copy_(kept)
    assert isinstance(outcome, NotFinite)
    assert outcome.code == "not-finite"
    assert sd15.name in str(outcome)
    assert {sketch.draw() for sketch in shown} <= {None}
