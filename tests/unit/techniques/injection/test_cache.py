"""What is kept of style and content, and what a warm request costs."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.techniques.injection_requests import STEPS, counted, made, ordered, picture
from workers.contract.jobs.models import Progress, StylizeRequest
from workers.engine.backbones.pool import BackboneCache
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import DiskTier, MemoryTier
from workers.engine.engine import DiffusionEngine
from workers.engine.technique import Pictures, PrepareContext
from workers.engine.types import BatchItem, GenerationResult
from workers.techniques import registry
from workers.techniques.injection.style_id import inversion, sizes
from workers.techniques.injection.style_id.inversion import InvertedImage
from workers.techniques.injection.style_id.spec import StyleIdParams
from workers.techniques.injection.style_id.technique import StyleId, inversion_config

COLD = [2] * STEPS + [1] * STEPS
CLOSE = 1e-4


def no_weights(name: str) -> Path:
    raise KeyError(name)


def test_cold_inverts_both_as_a_batch_of_two(context: PrepareContext) -> None:
    with counted(context.backbone) as rows:
        made(context, ordered())
    assert rows == COLD


def test_a_warm_style_costs_two_thirds_and_both_one_third(context: PrepareContext) -> None:
    [cold] = made(context, ordered())
    with counted(context.backbone) as rows:
        made(context, ordered(content=7))
    assert sum(rows) * 3 == sum(COLD) * 2
    with counted(context.backbone) as rows:
        [warm] = made(context, ordered())
    assert sum(rows) * 3 == sum(COLD)
    assert (warm - cold).abs().max() < CLOSE


def test_a_warm_content_costs_two_thirds(context: PrepareContext) -> None:
    made(context, ordered())
    with counted(context.backbone) as rows:
        made(context, ordered(style=7))
    assert rows == [1] * 2 * STEPS


def test_half_warm_equals_cold(sd15: StableDiffusion) -> None:
    def fresh() -> PrepareContext:
        return PrepareContext(sd15, RequestCache(StyleCache([MemoryTier("host", 1 << 28)])), no_weights)

    [cold] = made(fresh(), ordered())
    style_warm, content_warm = fresh(), fresh()
    made(style_warm, ordered(content=7))
    made(content_warm, ordered(style=7))
    assert (made(style_warm, ordered())[0] - cold).abs().max() < CLOSE
    assert (made(content_warm, ordered())[0] - cold).abs().max() < CLOSE


def test_knobs_of_the_generation_share_the_inversions(context: PrepareContext) -> None:
    made(context, ordered())
    with counted(context.backbone) as rows:
        made(context, ordered(StyleIdParams(gamma=0.2, temperature=1.1, init_adain=False), strength=0.9))
    assert sum(rows) == STEPS


@pytest.mark.parametrize(
    ("params", "more"),
    [
        (StyleIdParams(), {"steps": STEPS + 1}),
        (StyleIdParams(schedule="ldm"), {}),
        (StyleIdParams(injection_layers=(9,)), {}),
        (StyleIdParams(inversion_prompt="a boat"), {}),
        (StyleIdParams(inversion_guidance_scale=2.0), {}),
        (StyleIdParams(fit="exact"), {"width": 72}),
    ],
)
def test_what_the_inversion_depends_on_makes_it_again(
    context: PrepareContext, params: StyleIdParams, more: dict[str, int]
) -> None:
    made(context, ordered())
    with counted(context.backbone) as rows:
        StyleId().prepare(ordered(params, **more), context)
    assert len(rows) == more.get("steps", STEPS)
    assert set(rows) <= {2, 4}
    assert context.cache.misses == 2


def test_one_picture_as_style_and_content_is_kept_for_each(context: PrepareContext) -> None:
    with counted(context.backbone) as rows:
        [same] = made(context, ordered(style=2, content=2))
    assert rows == COLD
    assert same.isfinite().all()


def test_the_caches_outcome_speaks_of_the_style(sd15: StableDiffusion) -> None:
    cache = StyleCache([MemoryTier("host", 1 << 28)])
    outcomes = []
    for order in (ordered(strength=0.0), ordered(), ordered(content=7)):
        seen = RequestCache(cache)
        made(PrepareContext(sd15, seen, no_weights), order)
        outcomes.append(seen.outcome)
    assert outcomes == ["none", "miss", "hit"]


def test_features_are_built_where_the_cache_keeps_them(sd15: StableDiffusion) -> None:
    context = PrepareContext(sd15, RequestCache(StyleCache([MemoryTier("far", 1 << 28, "meta")])), no_weights)
    inverting = inversion_config(ordered(), StyleIdParams(), sd15)
    [kept] = inversion.inverted([InvertedImage("style", picture(1))], inverting, context)
    assert {value.device.type for name, value in kept.items() if name != "z"} == {"meta"}


def test_pictures_of_two_sizes_are_inverted_one_after_the_other(context: PrepareContext) -> None:
    order = ordered(content=picture(2, 72, 64))
    with counted(context.backbone) as rows:
        trajectory = StyleId(sizes.own).prepare(order, context)
    assert rows == [1] * 2 * STEPS
    assert trajectory.latents.shape == (1, 4, 8, 9)


def test_without_room_in_any_tier_it_is_made_again(sd15: StableDiffusion) -> None:
    context = PrepareContext(sd15, RequestCache(StyleCache([MemoryTier("host", 1000)])), no_weights)
    [first] = made(context, ordered())
    with counted(sd15) as rows:
        [again] = made(context, ordered())
    assert rows == COLD
    assert (first - again).abs().max() < CLOSE


def test_features_come_back_from_the_disk(sd15: StableDiffusion, tmp_path: Path) -> None:
    tiers = [MemoryTier("host", 1000), DiskTier("disk", 1 << 28, tmp_path)]
    [cold] = made(PrepareContext(sd15, RequestCache(StyleCache(tiers)), no_weights), ordered())
    later = StyleCache([MemoryTier("host", 1000), DiskTier("disk", 1 << 28, tmp_path)])
    with counted(sd15) as rows:
        [warm] = made(PrepareContext(sd15, RequestCache(later), no_weights), ordered())
    assert rows == [1] * STEPS
    assert torch.equal(warm, cold)


def request(seed: int) -> StylizeRequest:
    return StylizeRequest(
        method="style-id", model="tiny", seed=seed, width=64, height=64, steps=STEPS, guidance_scale=1, strength=0.5
    )


def engine_on(backbone: StableDiffusion) -> DiffusionEngine:
    return DiffusionEngine(
        pool=BackboneCache(lambda name: backbone),
        cache=StyleCache([MemoryTier("host", 1 << 28)]),
        technique=registry.technique,
        weights=no_weights,
    )


def nothing(progress: Progress) -> None:
    """Watch without a word."""


def test_requests_together_give_the_pictures_they_give_alone(sd15: StableDiffusion) -> None:
    works = [
        BatchItem(request(0), Pictures((picture(1),), picture(2)), nothing),
        BatchItem(
            request(1).model_copy(update={"prompt": "a boat", "guidance_scale": 3.0, "strength": 1.0}),
            Pictures((picture(3),), picture(4)),
            nothing,
        ),
    ]
    engine = engine_on(sd15)
    with counted(sd15) as rows:
        together = engine.run_batch(works)
    assert rows == [2] * 2 * STEPS + [3] * STEPS
    for outcome, work in zip(together, works, strict=True):
        assert isinstance(outcome, GenerationResult)
        alone = engine.stylize(work.request, work.pictures, watch=nothing)
        off = np.asarray(outcome.pictures[0], np.int16) - np.asarray(alone.pictures[0], np.int16)
        assert np.abs(off).max() <= 1, "rounding of one grey level"


def test_simultaneous_first_requests_invert_once(sd15: StableDiffusion) -> None:
    engine, pictures = engine_on(sd15), Pictures((picture(1),), picture(2))
    results: list[Image.Image] = []

    def ask(seed: int) -> None:
        results.extend(engine.stylize(request(seed), pictures, watch=nothing).pictures)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    with counted(sd15) as rows:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(rows, reverse=True) == [2] * STEPS + [1] * 4 * STEPS
    assert len(results) == 4
    assert len({result.tobytes() for result in results}) == 1
