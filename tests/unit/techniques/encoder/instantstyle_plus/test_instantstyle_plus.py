"""InstantStyle-Plus as a service: strength, guidance, what is kept, partners of a batch, refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.techniques.batching import require_the_same_alone, work
from tests.support.techniques.caching import require_no_trace
from tests.support.techniques.encoder_samples import bench_on, carry, inputs, latents, picture
from tests.support.techniques.instantstyle_plus_requests import Installed, asked, store
from workers.engine.backbones import controlnet
from workers.engine.backbones.csd import Descriptor
from workers.engine.backbones.stable_diffusion import StableDiffusion, unet_inputs
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import Hooks, denoise, gather
from workers.engine.errors import Refused, WeightsMissing
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs
from workers.techniques.encoder.clip import ClipImageEncoder
from workers.techniques.encoder.instantstyle_plus import guidance, math
from workers.techniques.encoder.instantstyle_plus.spec import InstantStylePlusParams
from workers.techniques.encoder.instantstyle_plus.technique import CONTROLNET, TECHNIQUE

Params = InstantStylePlusParams
GUIDED = Params(style_guidance_scale=20.0, content_guidance_scale=5.0)


@pytest.fixture(scope="session")
def weights(tiny_root: Path) -> Installed:
    return store(tiny_root)


def off(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def test_at_strength_0_the_style_image_has_no_say(sdxl: StableDiffusion, weights: Installed) -> None:
    context = bench_on(sdxl, weights)
    [content] = latents(TECHNIQUE, context, asked(GUIDED, strength=0.0))
    assert torch.equal(latents(TECHNIQUE, context, asked(GUIDED, strength=0.0, style=3))[0], content)
    off_too = Params(scale_style=0.0, content_guidance_scale=5.0)
    assert torch.equal(latents(TECHNIQUE, context, asked(off_too))[0], content)
    assert off(latents(TECHNIQUE, context, asked(GUIDED))[0], content) > 1e-2


def test_strength_multiplies_what_the_style_does(sdxl: StableDiffusion, weights: Installed) -> None:
    context = bench_on(sdxl, weights)
    [half] = latents(TECHNIQUE, context, asked(Params(scale_style=0.8, style_guidance_scale=10.0), strength=0.5))
    [told] = latents(TECHNIQUE, context, asked(Params(scale_style=0.4, style_guidance_scale=5.0)))
    assert off(half, told) < 1e-5


def test_with_nothing_to_hold_or_show_it_is_the_inversion_sampled_again(
    sdxl: StableDiffusion, weights: Installed
) -> None:
    context = bench_on(sdxl, weights)
    bare = Params(scale_style=0.0, scale_content=0.0, controlnet_conditioning_scale=0.0)
    trajectory = TECHNIQUE.prepare(asked(bare), context)
    again = TECHNIQUE.prepare(asked(bare), context)
    denoise(sdxl.predict, [again])
    carry(TECHNIQUE, context, [trajectory])
    assert torch.equal(trajectory.latents, again.latents)


@pytest.mark.parametrize("name", ["scale_content", "controlnet_conditioning_scale", "content_guidance_scale"])
def test_each_knob_has_its_effect(sdxl: StableDiffusion, weights: Installed, name: str) -> None:
    context = bench_on(sdxl, weights)
    [usual] = latents(TECHNIQUE, context, asked())
    [other] = latents(TECHNIQUE, context, asked(Params(**{name: 3.0})))
    assert off(usual, other) > 1e-2


def test_the_plus_adapter_can_be_used(sdxl: StableDiffusion, weights: Installed) -> None:
    [found] = latents(TECHNIQUE, bench_on(sdxl, weights), asked(Params(adapter="plus"), steps=1))
    assert found.isfinite().all()


def test_the_gradient_is_that_of_what_the_judge_says(sdxl: StableDiffusion, weights: Installed) -> None:
    """Finite differences through UNet, VAE and descriptor, with everything else as in the unconditional row."""
    trajectory = TECHNIQUE.prepare(asked(GUIDED), bench_on(sdxl, weights))
    asked_for = trajectory.extra.guidance
    a_t = float(trajectory.scheduler.alphas_cumprod[trajectory.timestep])
    x, direction = trajectory.latents, torch.randn(trajectory.latents.shape, generator=torch.Generator().manual_seed(1))
    with TECHNIQUE.patch(sdxl, [trajectory]) as hooks, torch.no_grad():
        call = gather([trajectory])
        hooks.before_predict(call)

        def judged(at: torch.Tensor) -> float:
            both = torch.cat([at, at])
            eps = sdxl.denoiser(both, call.timestep, **unet_inputs(call.condition), **call.inputs, return_dict=False)[0]
            shown = sdxl.decode(math.mixed(math.clean(at, eps[:1], a_t), at, a_t))
            described = asked_for.descriptor(math.judged(shown, asked_for.descriptor.side))
            return float(math.loss(*described, asked_for.references, asked_for.scales))

        h = 3e-4
        slope = (judged(x + h * direction) - judged(x - h * direction)) / (2 * h)
        zero = torch.zeros_like(x)
        corrected = hooks.after_guidance(trajectory, zero, call)
    g = -corrected / (1 - a_t) ** 0.5
    assert float((-g * direction).sum()) == pytest.approx(slope, rel=0.03)


def test_guidance_raises_the_similarity_it_follows(sdxl: StableDiffusion, weights: Installed) -> None:
    context = bench_on(sdxl, weights)
    judge: Descriptor = guidance.descriptor(context)
    towards, _ = judge.describe(picture(0))

    def similarity(scale: float) -> float:
        [z] = latents(TECHNIQUE, context, asked(Params(style_guidance_scale=scale), steps=4))
        with torch.no_grad():
            return float((judge(math.judged(sdxl.decode(z), judge.side))[0] * towards).sum())

    assert similarity(30.0) > similarity(0.0)


def test_a_warm_request_costs_its_own_rows_and_gives_the_same(
    sdxl: StableDiffusion, weights: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = StyleCache([MemoryTier("host", 1 << 28)])
    [cold] = latents(TECHNIQUE, bench_on(sdxl, weights, cache), asked(GUIDED))
    monkeypatch.setattr(ClipImageEncoder, "features", None)
    monkeypatch.setattr(Descriptor, "describe", None)
    context, rows = bench_on(sdxl, weights, cache), list[int]()
    hook = sdxl.denoiser.register_forward_pre_hook(lambda unet, given: rows.append(len(given[0])))
    [warm] = latents(TECHNIQUE, context, asked(GUIDED))
    guided = list(rows)
    rows.clear()
    latents(TECHNIQUE, context, asked())
    hook.remove()
    assert off(warm, cold) < 1e-4
    assert context.cache.outcome == "hit"
    assert guided == [2, 1, 2, 1]
    assert rows == [2, 2]


def test_everything_the_result_depends_on_is_in_the_keys(sdxl: StableDiffusion, weights: Installed) -> None:
    cache = StyleCache([MemoryTier("host", 1 << 28)])
    for each in (
        asked(steps=1),
        asked(steps=1, style=1),
        asked(steps=1, content=0),
        asked(Params(inversion_seed=1), steps=1),
        asked(Params(adapter="plus"), steps=1),
        asked(GUIDED, steps=1, style=1),
    ):
        [shared] = latents(TECHNIQUE, bench_on(sdxl, weights, cache), each)
        [fresh] = latents(TECHNIQUE, bench_on(sdxl, weights), each)
        assert off(shared, fresh) < 1e-4


def test_a_result_does_not_depend_on_its_batch(sdxl: StableDiffusion, weights: Installed) -> None:
    context = bench_on(sdxl, weights)
    orders = [
        asked(GUIDED, strength=0.5),
        asked(style=1, content=8, prompts=("a cat", "a dog"), seeds=(8, 9), steps=3, negative_prompt="blurry"),
        asked(Params(scale_style=0.6, style_guidance_scale=10.0), style=2, guidance_scale=1.0),
        asked(Params(controlnet_conditioning_scale=0.0), style=3),
    ]
    assert len({TECHNIQUE.batch_key(each, sdxl) for each in orders}) == 1
    alone = [latents(TECHNIQUE, context, each)[0] for each in orders]
    for one, other in zip(alone, latents(TECHNIQUE, context, *orders), strict=True):
        assert off(one, other) < 1e-4


def test_pictures_of_one_request_are_guided_each_for_itself(sdxl: StableDiffusion, weights: Installed) -> None:
    context = bench_on(sdxl, weights)
    prompts, seeds = ("a cat", "a dog"), (1, 2)
    both = asked(GUIDED, prompts=prompts, seeds=seeds, noise=SeededNoise(seeds))
    [together] = latents(TECHNIQUE, context, both)
    for row, prompt in zip(together, prompts, strict=True):
        assert off(latents(TECHNIQUE, context, asked(GUIDED, prompts=(prompt,)))[0][0], row) < 1e-4


def test_what_computes_otherwise_is_not_batched(sdxl: StableDiffusion) -> None:
    orders = [asked(), asked(strength=0.0), asked(Params(adapter="plus")), asked(width=128, height=128)]
    orders += [asked(Params(scale_content=0.0))]
    assert len({TECHNIQUE.batch_key(each, sdxl) for each in orders}) == len(orders)


def test_the_engine_batches_requests_of_different_styles(sdxl: StableDiffusion, weights: Installed) -> None:
    works = [work("instantstyle-plus", sdxl, "a red house", 1, content=True)]
    works.append(work("instantstyle-plus", sdxl, "a cat", 2, content=True))
    assert 4 in require_the_same_alone(works, sdxl, weights)


@pytest.mark.parametrize("fails", [False, True])
def test_both_networks_are_left_as_they_were(sdxl: StableDiffusion, weights: Installed, fails: bool) -> None:
    folder = weights(CONTROLNET)
    net = sdxl.get_or_load(f"controlnet {folder}", lambda: controlnet.load(folder, sdxl))
    require_no_trace(TECHNIQUE, bench_on(sdxl, weights), asked(GUIDED), net, fails=fails)


def test_gradients_are_asked_for_only_where_they_are_needed(sdxl: StableDiffusion, weights: Installed) -> None:
    context = bench_on(sdxl, weights)

    def hooks_of(params: Params) -> Hooks:
        with TECHNIQUE.patch(sdxl, [TECHNIQUE.prepare(asked(params), context)]) as hooks:
            return hooks

    assert hooks_of(GUIDED).wants_gradients
    assert not hooks_of(Params()).wants_gradients


@pytest.mark.parametrize(
    ("each", "text"),
    [
        (inputs(Params(), picture(), picture(1)), "needs one style image and a content_image"),
        (inputs(Params()), "needs one style image and a content_image"),
        (asked(scheduler_config={"prediction_type": "v_prediction"}), "needs a base model that predicts noise"),
        (asked(width=68, height=68, size=(68, 68)), "multiples of 8"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    sdxl: StableDiffusion, weights: Installed, each: GenerationInputs, text: str
) -> None:
    with pytest.raises(Refused, match=text):
        TECHNIQUE.prepare(each, bench_on(sdxl, weights))


@pytest.mark.parametrize("model", ["ip-adapter-sdxl-vit-h", CONTROLNET, "csd"])
def test_what_is_not_installed_is_named_with_the_command(sdxl: StableDiffusion, weights: Installed, model: str) -> None:
    def lacking(name: str) -> Any:
        if name == model:
            raise WeightsMissing(name)
        return weights(name)

    with pytest.raises(WeightsMissing, match=f"stylize models pull {model}"):
        TECHNIQUE.prepare(asked(GUIDED), bench_on(sdxl, lacking))
