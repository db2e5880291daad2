"""StyleAligned as a service: what a warm style costs, strength, partners of a batch, control, refusals."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tests.support.techniques.caching import BrokenOffError, break_off, require_no_trace, unchanged
from tests.support.techniques.shared_attention_requests import bench_of, counted, inputs, off, picture, run, together
from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import denoise
from workers.engine.errors import Refused
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, text_to_image
from workers.techniques.shared_attention.style_aligned import inversion, options
from workers.techniques.shared_attention.style_aligned.spec import StyleAlignedParams
from workers.techniques.shared_attention.style_aligned.technique import StyleAligned

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIDE = {"sd15": 128, "sdxl": 64}
STYLE = (picture(1),)


def small(backbone: StableDiffusion, **more: Any) -> GenerationInputs:
    side = SIDE[backbone.base]
    return inputs(**{"width": side, "height": side} | more)


@pytest.mark.parametrize("styles", [STYLE, ()], ids=["image", "generated"])
def test_a_warm_style_costs_what_plain_text_to_image_costs(backbone: StableDiffusion, styles: tuple[Any, ...]) -> None:
    context, asked = bench_of(backbone), small(backbone, styles=styles)
    with counted(backbone) as cold_rows:
        cold = run(asked, context)
    with counted(backbone) as warm_rows:
        warm = run(asked, context)
    assert sum(warm_rows) == asked.steps * 2 * len(asked.prompts)
    assert sum(cold_rows) == sum(warm_rows) + asked.steps * (4 if styles else 2)
    assert off(warm, cold) <= 1e-4


def test_one_recording_serves_other_prompts_seeds_strengths_and_scores(sdxl: StableDiffusion) -> None:
    context = bench_of(sdxl)
    run(inputs(STYLE), context)
    built = context.cache.misses
    run(inputs(STYLE, prompts=("a house",), strength=0.4, adain_values=True, guidance_scale=7.0), context)
    run(inputs(STYLE, shared_score_shift=0.0, shared_score_scale=0.5, inversion_offset=1), context)
    assert context.cache.misses == built


@pytest.mark.parametrize(
    ("changed", "built"),
    [
        ({"styles": (picture(2),)}, 2),
        ({"reference_prompt": "else"}, 2),
        ({"inversion_guidance_scale": 3.0}, 2),
        ({"width": 96}, 2),
        ({"steps": 3}, 2),
        ({"negative_prompt": None}, 1),
        ({"inversion_offset": 0}, 1),
        ({"guidance_scale": 1.0}, 1),
        ({"only_self_level": 0.5}, 1),
        ({"share_group_norm": False}, 1),
    ],
)
def test_what_a_recording_depends_on_is_in_its_key(
    sdxl: StableDiffusion, known: StyleCache, changed: dict[str, Any], built: int
) -> None:
    context = replace(bench_of(sdxl), cache=RequestCache(known))
    asked = inputs(**{"styles": STYLE} | changed)
    result = run(asked, context)
    assert context.cache.misses == built
    assert off(result, run(asked, bench_of(sdxl))) <= 1e-4


@pytest.fixture(scope="module")
def known(sdxl: StableDiffusion) -> StyleCache:
    """A style cache that knows the style of `order(STYLE)`."""
    cache = StyleCache([MemoryTier("host", 1 << 30)])
    with torch.no_grad():
        StyleAligned().prepare(inputs(STYLE), replace(bench_of(sdxl), cache=RequestCache(cache)))
    return cache


def test_half_precision_keeps_latents_in_single_and_stays_finite(tiny_root: Path) -> None:
    half = load(tiny_root / "sdxl", dtype=torch.bfloat16)
    asked, context = inputs(STYLE), bench_of(half)
    assert isinstance(asked.params, StyleAlignedParams)
    assert inversion.inverted(asked, asked.params, context).dtype is torch.float32
    result = run(asked, context)
    assert result.dtype is torch.float32
    assert result.isfinite().all()
    assert run(asked, bench_of(half, budget=0)).isfinite().all()


def test_simultaneous_first_requests_build_once(sdxl: StableDiffusion) -> None:
    context = bench_of(sdxl)
    asked = inputs(STYLE)
    with counted(sdxl) as rows, torch.no_grad():
        StyleAligned().prepare(asked, context)
    once = sum(rows)
    context = bench_of(sdxl)

    def prepared() -> None:
        with sdxl.lock, torch.no_grad():
            StyleAligned().prepare(asked, context)

    threads = [threading.Thread(target=prepared) for _ in range(4)]
    with counted(sdxl) as rows:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(rows) == once


@pytest.mark.parametrize("styles", [STYLE, ()], ids=["image", "generated"])
def test_no_strength_is_plain_text_to_image_exactly(backbone: StableDiffusion, styles: tuple[Any, ...]) -> None:
    asked, context = small(backbone, styles=styles, strength=0.0), bench_of(backbone)
    theirs = text_to_image(asked, context)
    denoise(backbone.predict, [theirs])
    assert torch.equal(run(asked, context), theirs.latents)
    assert context.cache.outcome == "none"


def test_strength_grows_from_plain_text_to_image(sdxl: StableDiffusion) -> None:
    context = bench_of(sdxl)
    none, *grown = (run(inputs(STYLE, strength=s, steps=1), context) for s in (0.0, 1e-12, 0.1, 0.3, 0.6, 1.0))
    away = [float((one - none).norm() / none.norm()) for one in grown]
    assert away[0] < 1e-4
    assert away == sorted(away)


def test_partners_of_a_batch_do_not_matter(sdxl: StableDiffusion) -> None:
    context = bench_of(sdxl)
    asked = [
        inputs(STYLE),
        inputs((picture(2),), prompts=("a house",), strength=0.5, steps=3, guidance_scale=7.0, reference_prompt=None),
        inputs(prompts=("a tree",), share_group_norm=True, shared_score_scale=0.5, guidance_scale=1.0),
        inputs(STYLE, prompts=("a boat",), negative_prompt=None),
    ]
    technique = StyleAligned()
    assert len({technique.batch_key(one, sdxl) for one in asked}) == 1
    for alone, batched in zip([run(one, context) for one in asked], together(asked, context), strict=True):
        assert off(batched, alone) <= 1e-5
    for alone, batched in zip(
        [run(one, context) for one in asked], together(asked, bench_of(sdxl, budget=0)), strict=True
    ):
        assert off(batched, alone) <= 1e-4


def test_a_full_share_keeps_requests_apart(sdxl: StableDiffusion) -> None:
    asked = [
        inputs(STYLE, full_attention_share=True),
        inputs(full_attention_share=True, share_group_norm=True, strength=0.5),
    ]
    context = bench_of(sdxl)
    for alone, batched in zip([run(one, context) for one in asked], together(asked, context), strict=True):
        assert off(batched, alone) <= 1e-5


def test_the_pictures_of_a_request_do_not_depend_on_each_other(sdxl: StableDiffusion) -> None:
    context, both = bench_of(sdxl), inputs(STYLE)
    second = replace(both, prompts=both.prompts[1:], seeds=both.seeds[1:], noise=SeededNoise(both.seeds[1:]))
    assert off(run(second, context), run(both, context)[1:]) <= 1e-5


@pytest.mark.parametrize("budget", [0, 1 << 30])
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(backbone: StableDiffusion, budget: int, fails: bool) -> None:
    asked = small(backbone, styles=STYLE)
    require_no_trace(StyleAligned(), bench_of(backbone, budget=budget), asked, fails=fails)
    with unchanged(backbone.denoiser), pytest.raises(BrokenOffError):
        run(small(backbone), bench_of(backbone, watch=break_off))


def test_the_inversion_ends_at_the_image(backbone: StableDiffusion) -> None:
    asked, context = small(backbone, styles=STYLE), bench_of(backbone)
    assert isinstance(asked.params, StyleAlignedParams)
    zts = inversion.inverted(asked, asked.params, context)
    assert zts.shape == (asked.steps + 1, *backbone.latent_shape(asked.width, asked.height))
    squashed = STYLE[0].resize((asked.width, asked.height))
    pixels = torch.tensor(list(squashed.tobytes())).reshape(1, asked.height, asked.width, 3)
    theirs = backbone.encode(pixels.permute(0, 3, 1, 2) / 127.5 - 1)
    torch.testing.assert_close(zts[-1:], theirs, atol=1e-4, rtol=1e-4)


def test_defaults_follow_the_notebooks() -> None:
    params = StyleAlignedParams()
    image, generated = inputs(STYLE), inputs()
    assert [options.read_options(image, params, base).share_group_norm for base in ("sd15", "sdxl")] == [True, True]
    assert [options.read_options(generated, params, base).share_group_norm for base in ("sd15", "sdxl")] == [
        True,
        False,
    ]
    assert (options.shift(image, params), options.shift(generated, params)) == (pytest.approx(0.6931472), 0.0)
    assert inversion.guidance(params) == 1.0
    assert inversion.guidance(StyleAlignedParams(reference_prompt="a cat")) == 2.0
    assert [inversion.offset(replace(image, steps=steps), params) for steps in (1, 4, 50)] == [0, 3, 5]


@pytest.mark.parametrize("level", [0.01, 0.99])
def test_levels_that_pick_no_layer_anywhere_are_invalid(level: float) -> None:
    with pytest.raises(ValidationError, match="picks no layer"):
        StyleAlignedParams(only_self_level=level)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (inputs(width=64, height=128), "at least 128x128 pixels"),
        (inputs(width=128, height=130), "multiples of 8"),
        (inputs(width=128, height=128, only_self_level=0.05), "picks no layer of the 16"),
        (inputs(STYLE * 2, width=128, height=128), "one style image"),
        (inputs(width=128, height=128, reference_prompt=None), "needs a style image"),
        (inputs(STYLE, width=128, height=128, inversion_offset=2), "below the 2 steps"),
        (inputs(width=128, height=128, control="canny"), "belong together"),
        (inputs(width=128, height=128, control_image=picture(3)), "belong together"),
        (inputs(STYLE, width=128, height=128, scheduler_config={"timestep_spacing": "linspace"}), "cannot be inverted"),
    ],
)
def test_what_cannot_be_done_is_refused(sd15: StableDiffusion, asked: GenerationInputs, text: str) -> None:
    with pytest.raises(Refused, match=text):
        run(asked, bench_of(sd15))


def controlled(**more: Any) -> GenerationInputs:
    return inputs(**{"width": 128, "height": 128, "control": "canny", "control_image": picture(5)} | more)


def test_control_shapes_the_pictures_and_on_demand_the_reference(sd15: StableDiffusion, controlnet: Path) -> None:
    asked_for: list[str] = []

    def weights(name: str) -> Path:
        asked_for.append(name)
        return controlnet

    context = bench_of(sd15, weights=weights)
    free = run(inputs(width=128, height=128), context)
    shaped = run(controlled(), context)
    assert set(asked_for) == {"controlnet-canny-sd15"}
    assert off(shaped, free) > 1e-3
    assert off(run(controlled(controlnet_conditioning_scale=0.0), context), free) == 0
    assert off(run(controlled(control_guidance_start=0.6), context), free) == 0
    built = context.cache.misses
    on_reference = run(controlled(control_on_reference=True), context)
    assert context.cache.misses == built + 1
    assert off(on_reference, shaped) > 1e-4
    assert (
        off(run(controlled(control_on_reference=True), bench_of(sd15, budget=0, weights=weights)), on_reference) < 1e-4
    )
    assert off(run(controlled(controlnet_text="negative"), context), shaped) > 1e-4


def test_control_stays_at_strength_none(sd15: StableDiffusion, controlnet: Path) -> None:
    context = bench_of(sd15, weights=lambda name: controlnet)
    assert off(run(controlled(strength=0.0), context), run(inputs(width=128, height=128, strength=0.0), context)) > 1e-3


def test_a_controlnet_of_another_model_is_refused(sdxl: StableDiffusion, controlnet: Path) -> None:
    with pytest.raises(Refused, match="was not made for sdxl"):
        run(controlled(), bench_of(sdxl, weights=lambda name: controlnet))
