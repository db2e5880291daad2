"""What style-id makes on the tiny models."""

from dataclasses import replace

import pytest
import torch

from tests.support.techniques.caching import BrokenOffError, break_off, require_no_trace, unchanged
from tests.support.techniques.injection_requests import STEPS, counted, made, ordered, picture
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import Trajectory, denoise
from workers.engine.errors import Refused
from workers.engine.images import to_signed
from workers.engine.technique import Pictures, PrepareContext
from workers.techniques.injection.style_id import inversion, layers, schedule
from workers.techniques.injection.style_id.inversion import InversionConfig, InvertedImage
from workers.techniques.injection.style_id.spec import StyleIdParams
from workers.techniques.injection.style_id.technique import StyleId

CLOSE = 1e-4


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max())


def reconstructed(backbone: StableDiffusion, kind: str = "aligned") -> torch.Tensor:
    """The content picture inverted and sampled again by the schedulers alone."""
    config = schedule.configuration(backbone.scheduler_config, None)
    text, _ = backbone.condition(("",), None, guided=False, width=64, height=64)
    up = Trajectory(backbone.encode(to_signed(picture(2))), schedule.inverse(kind, config, STEPS), text)
    denoise(backbone.predict, [up])
    down = Trajectory(up.latents, schedule.sampling(kind, config, STEPS, None), text)
    denoise(backbone.predict, [down])
    return down.latents


@pytest.mark.parametrize("kind", ["aligned", "ldm"])
def test_strength_0_is_the_reconstructed_content(context: PrepareContext, kind: str) -> None:
    params = StyleIdParams.model_validate({"schedule": kind})
    with counted(context.backbone) as rows:
        [ours] = made(context, ordered(params, strength=0.0))
    assert apart(ours, reconstructed(context.backbone, kind)) < CLOSE
    assert sum(rows) == 2 * STEPS - (kind == "ldm"), "the style is not even looked at"


def test_nothing_injected_and_no_adain_is_the_reconstructed_content(context: PrepareContext) -> None:
    params = StyleIdParams(injection_layers=(), init_adain=False)
    [ours] = made(context, ordered(params))
    assert apart(ours, reconstructed(context.backbone)) < CLOSE


def test_more_strength_is_farther_from_the_content(context: PrepareContext) -> None:
    plain = reconstructed(context.backbone)
    away = [float((made(context, ordered(strength=s))[0] - plain).norm()) for s in (0.0, 0.05, 0.15, 0.5)]
    assert away == sorted(away)
    assert away[0] < CLOSE
    assert away[-1] > 1


def test_above_the_published_strength_gamma_falls(context: PrepareContext) -> None:
    [strong] = made(context, ordered(strength=1.0))
    [named] = made(context, ordered(StyleIdParams(gamma=0.3), strength=0.5))
    assert apart(strong, named) < CLOSE


def test_every_knob_matters(context: PrepareContext) -> None:
    [usual] = made(context, ordered())
    for knob in (
        {"gamma": 0.2},
        {"temperature": 1.0},
        {"injection_layers": (9, 10)},
        {"init_adain": False},
        {"adain_eps": 0.5},
        {"schedule": "ldm"},
        {"inversion_prompt": "a red house"},
    ):
        [other] = made(context, ordered(StyleIdParams.model_validate(knob)))
        assert apart(usual, other) > 1e-3, knob


def test_a_prompt_is_followed_with_and_without_guidance(context: PrepareContext) -> None:
    [silent] = made(context, ordered(guidance_scale=5.0))
    [told] = made(context, ordered(prompts=("a red house",)))
    with counted(context.backbone) as rows:
        [guided] = made(context, ordered(prompts=("a red house",), guidance_scale=5.0, negative_prompt=""))
    assert rows == [2] * STEPS, "both halves in one call, the inversions from the cache"
    assert apart(silent, made(context, ordered())[0]) < CLOSE
    assert min(apart(silent, told), apart(told, guided)) > 1e-3


def test_guidance_0_is_the_negative_prompt_alone(context: PrepareContext) -> None:
    [ours] = made(context, ordered(prompts=("a red house",), guidance_scale=0.0, negative_prompt=""))
    assert apart(ours, made(context, ordered())[0]) < CLOSE


def test_a_guided_inversion_without_text_changes_nothing(context: PrepareContext) -> None:
    spoken = {"prompts": ("a red house",), "guidance_scale": 5.0, "negative_prompt": ""}
    guided = StyleIdParams(inversion_guidance_scale=3.0)
    assert apart(made(context, ordered(guided))[0], made(context, ordered())[0]) < CLOSE
    assert apart(made(context, ordered(guided, **spoken))[0], made(context, ordered(**spoken))[0]) < 10 * CLOSE


def test_pictures_of_one_request_are_alike(context: PrepareContext) -> None:
    [one] = made(context, ordered())
    [two] = made(context, ordered(prompts=("", ""), seeds=(4, 5)))
    assert apart(two, one.expand(2, -1, -1, -1)) < CLOSE


def test_a_request_does_not_depend_on_its_batch(context: PrepareContext) -> None:
    orders = [
        ordered(),
        ordered(StyleIdParams(gamma=0.4, injection_layers=(6, 9)), style=3, content=4, steps=STEPS + 1),
        ordered(prompts=("a boat",), guidance_scale=4.0, negative_prompt="rain", style=5, strength=0.3),
        ordered(StyleIdParams(schedule="ldm"), strength=0.0),
    ]
    technique = StyleId()
    assert len({technique.batch_key(order, context.backbone) for order in orders}) == 1
    alone = [made(context, order)[0] for order in orders]
    with counted(context.backbone) as rows:
        together = made(context, *orders)
    assert rows[0] == 5, "one call for all"
    assert max(apart(ours, theirs) for ours, theirs in zip(together, alone, strict=True)) < CLOSE


def test_results_of_other_sizes_are_not_batched(sd15: StableDiffusion) -> None:
    technique = StyleId()
    small = ordered(content=picture(2, 64, 64), width=128, height=128)
    wide = ordered(content=picture(2, 128, 64), width=128, height=128)
    assert technique.batch_key(small, sd15) != technique.batch_key(wide, sd15)
    assert technique.batch_key(replace(small, pictures=Pictures()), sd15) is None


def test_the_result_has_the_contents_size(context: PrepareContext) -> None:
    [latents] = made(context, ordered(content=picture(2, 96, 72), width=128, height=128))
    assert latents.shape == (1, 4, 9, 12)


def test_sdxl_injects_into_its_suggested_layers(sdxl: StableDiffusion) -> None:
    context = PrepareContext(
        sdxl, RequestCache(StyleCache([MemoryTier("host", 1 << 28)])), lambda name: pytest.fail(name)
    )
    with counted(sdxl) as rows:
        [usual] = made(context, ordered())
    assert rows == [2] * STEPS + [1] * STEPS
    [none] = made(context, ordered(strength=0.0))
    spoken = ordered(prompts=("a boat",), guidance_scale=4.0)
    assert apart(usual, none) > 1e-2
    assert made(context, spoken)[0].isfinite().all()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"pictures": Pictures((picture(1),))}, "content_image"),
        ({"pictures": Pictures((), picture(2))}, "one style image"),
        ({"params": StyleIdParams(fit="exact"), "width": 68}, "multiples of 8"),
        ({"params": StyleIdParams(injection_layers=(1,))}, "no self-attention"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(context: PrepareContext, wrong: dict[str, object], words: str) -> None:
    with pytest.raises(Refused, match=words):
        StyleId().prepare(replace(ordered(), **wrong), context)  # type: ignore[arg-type]


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(context: PrepareContext, fails: bool) -> None:
    with unchanged(context.backbone.denoiser), pytest.raises(BrokenOffError):
        StyleId().prepare(ordered(style=8), replace(context, watch=break_off))
    require_no_trace(StyleId(), context, ordered(style=8), fails=fails)


def test_features_that_do_not_fit_are_refused_before_work(
    context: PrepareContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.engine.memory.available", lambda device: 1000)
    with counted(context.backbone) as rows, pytest.raises(Refused, match="the request needs about"):
        StyleId().prepare(ordered(style=9), context)
    assert rows == []


def test_size_is_counted_as_it_is_kept(context: PrepareContext) -> None:
    backbone = context.backbone
    config = schedule.configuration(backbone.scheduler_config, None)
    chosen = layers.chosen(backbone.denoiser, (6, 9))
    for guidance in (1.0, 2.0):
        inverting = InversionConfig(backbone, "aligned", config, 2, "", guidance, chosen)
        style = InvertedImage("style", picture(1, 72, 64))
        [kept] = inversion.inverted([style], inverting, context)
        held = sum(value.nbytes for name, value in kept.items() if name != "z")
        assert held == inversion.size_of(style, inverting)
