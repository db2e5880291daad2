"""CSGO as a service: tasks, strength, what is kept, partners of a batch, what is left behind, refusals."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionXLControlNetPipeline

from tests.support.techniques.batching import require_the_same_alone, work
from tests.support.techniques.caching import require_no_trace
from tests.support.techniques.csgo_requests import Installed, asked, own, store
from tests.support.techniques.encoder_samples import bench_on, latents, nothing_installed, picture
from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import denoise
from workers.engine.errors import Refused, WeightsMissing
from workers.engine.technique import GenerationInputs, Pictures, text_to_image
from workers.techniques.encoder.clip import ClipImageEncoder
from workers.techniques.encoder.csgo import network, prompts
from workers.techniques.encoder.csgo.spec import SPEC, CSGOParams
from workers.techniques.encoder.csgo.technique import TECHNIQUE

PAPER = CSGOParams(content_in_unet=True)
TEXT = CSGOParams(task="text_driven")


@pytest.fixture(scope="session")
def weights(tiny_root: Path) -> Installed:
    return store(tiny_root)


def off(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def test_text_driven_at_strength_0_is_plain_text_to_image(sdxl: StableDiffusion) -> None:
    context = bench_on(sdxl, nothing_installed)
    inputs = asked(TEXT, content=None, strength=0.0)
    expected = text_to_image(inputs, context)
    denoise(sdxl.predict, [expected])
    assert torch.equal(latents(TECHNIQUE, context, inputs)[0], expected.latents)
    assert context.cache.outcome == "none"


def test_at_strength_0_the_controlnet_alone_holds_the_content(sdxl: StableDiffusion, weights: Installed) -> None:
    context = bench_on(sdxl, weights)
    inputs = asked(strength=0.0)
    [ours] = latents(TECHNIQUE, context, inputs)
    parts = {name: part for name, part in sdxl.pipe.components.items() if name != "scheduler"}
    scheduler = DDIMScheduler.from_config(sdxl.scheduler_config, clip_sample=False)
    pipe = StableDiffusionXLControlNetPipeline(
        **parts, controlnet=own(context).controlnet, scheduler=scheduler, add_watermarker=False
    )
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        prompt=inputs.prompts[0],
        image=inputs.pictures.content,
        latents=inputs.noise.normal("initial", sdxl.latent_shape(64, 64)),
        num_inference_steps=inputs.steps,
        guidance_scale=inputs.guidance_scale,
        controlnet_conditioning_scale=0.6,
        output_type="latent",
    ).images
    assert off(ours, theirs) < 1e-4
    assert torch.equal(latents(TECHNIQUE, context, asked(strength=0.0, style=5))[0], ours)
    assert off(latents(TECHNIQUE, context, asked())[0], ours) > 0.1


def test_strength_multiplies_the_style_scale(sdxl: StableDiffusion, weights: Installed) -> None:
    context = bench_on(sdxl, weights)
    [half] = latents(TECHNIQUE, context, asked(CSGOParams(style_scale=0.8), strength=0.5))
    [equal] = latents(TECHNIQUE, context, asked(CSGOParams(style_scale=0.4)))
    assert off(half, equal) < 1e-5


def test_the_tasks_are_their_controlnet_scales(sdxl: StableDiffusion, weights: Installed) -> None:
    context = bench_on(sdxl, weights)
    for task, scale in (("image_driven", 0.6), ("text_edit_driven", 0.4), ("text_driven", 0.01)):
        [named] = latents(TECHNIQUE, context, asked(CSGOParams(task=task)))  # type: ignore[arg-type]
        [told] = latents(TECHNIQUE, context, asked(CSGOParams(controlnet_conditioning_scale=scale)))
        assert torch.equal(named, told)


def test_without_a_content_image_the_task_is_text_driven_on_black(sdxl: StableDiffusion, weights: Installed) -> None:
    context = bench_on(sdxl, weights)
    [alone] = latents(TECHNIQUE, context, asked(content=None))
    black = Pictures((picture(0),), picture(0, (64, 64)).point(lambda value: 0))
    [told] = latents(TECHNIQUE, context, replace(asked(TEXT), pictures=black))
    assert torch.equal(alone, told)


def test_as_released_the_content_scale_has_no_effect_as_in_the_paper_it_has(
    sdxl: StableDiffusion, weights: Installed
) -> None:
    context = bench_on(sdxl, weights)
    [released] = latents(TECHNIQUE, context, asked())
    assert torch.equal(latents(TECHNIQUE, context, asked(CSGOParams(content_scale=0.1)))[0], released)
    [paper] = latents(TECHNIQUE, context, asked(PAPER))
    assert off(paper, released) > 1e-2
    none = CSGOParams(content_in_unet=True, content_scale=0.0)
    assert torch.equal(latents(TECHNIQUE, context, asked(none))[0], released)


def test_the_result_has_the_contents_proportions(sdxl: StableDiffusion, weights: Installed) -> None:
    [found] = latents(TECHNIQUE, bench_on(sdxl, weights), asked(size=(200, 100), width=128, height=128))
    assert found.shape[-2:] == (8, 16)


@pytest.mark.parametrize("params", [CSGOParams(), PAPER])
def test_a_warm_style_costs_no_more_rows_than_plain_and_gives_the_same(
    sdxl: StableDiffusion, weights: Installed, params: CSGOParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = StyleCache([MemoryTier("host", 1 << 28)])
    [cold] = latents(TECHNIQUE, bench_on(sdxl, weights, cache), asked(params))
    monkeypatch.setattr(ClipImageEncoder, "features", None)
    monkeypatch.setattr(network.Network, "project", None)
    context = bench_on(sdxl, weights, cache)
    rows: dict[str, int] = {"unet": 0, "controlnet": 0}

    def count(name: str) -> Any:
        return lambda net, given: rows.update({name: rows[name] + len(given[0])})

    nets = {"unet": sdxl.denoiser, "controlnet": own(context).controlnet}
    hooks = [net.register_forward_pre_hook(count(name)) for name, net in nets.items()]
    [warm] = latents(TECHNIQUE, context, asked(params))
    for hook in hooks:
        hook.remove()
    assert off(warm, cold) < 1e-4
    assert context.cache.outcome == "hit"
    assert rows == {"unet": 4, "controlnet": 4}


def test_everything_the_result_depends_on_is_in_the_key(sdxl: StableDiffusion, weights: Installed) -> None:
    cache = StyleCache([MemoryTier("host", 1 << 28)])
    each = [
        asked(),
        asked(style=1),
        asked(PAPER),
        asked(PAPER, content=8),
        asked(PAPER, style=7, content=0),
        asked(guidance_scale=1.0),
    ]
    for inputs in each:
        [shared] = latents(TECHNIQUE, bench_on(sdxl, weights, cache), inputs)
        [fresh] = latents(TECHNIQUE, bench_on(sdxl, weights), inputs)
        assert off(shared, fresh) < 1e-4


def test_simultaneous_first_requests_build_a_style_once(
    sdxl: StableDiffusion, weights: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    features = ClipImageEncoder.features

    def counted(self: ClipImageEncoder, *given: Any) -> torch.Tensor:
        seen.append(1)
        return features(self, *given)

    monkeypatch.setattr(ClipImageEncoder, "features", counted)
    cache = StyleCache([MemoryTier("host", 1 << 28)])
    ours = own(bench_on(sdxl, weights))

    def build(_: int) -> prompts.TokenCounts:
        return prompts.seen("style", picture(0), ours, bench_on(sdxl, weights, cache))

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(build, range(8)))
    assert len(seen) == 1
    assert all(torch.equal(one.controlnet[layer], kv) for one in made for layer, kv in made[0].controlnet.items())


@pytest.mark.parametrize("paper", [False, True])
def test_a_result_does_not_depend_on_its_batch(sdxl: StableDiffusion, weights: Installed, paper: bool) -> None:
    context = bench_on(sdxl, weights)
    orders = [
        asked(CSGOParams(content_in_unet=paper), strength=0.5),
        asked(
            CSGOParams(task="text_edit_driven", style_scale=0.7, content_in_unet=paper),
            style=1,
            content=8,
            prompts=("a blue cat", "a dog"),
            seeds=(8, 9),
            steps=3,
            negative_prompt="blurry",
        ),
        asked(CSGOParams(task="text_driven", content_in_unet=paper), style=2, content=None, guidance_scale=1.0),
        asked(CSGOParams(controlnet_conditioning_scale=0.0, content_in_unet=paper), style=3)
        if paper
        else asked(style=3),
    ]
    alone = [latents(TECHNIQUE, context, inputs)[0] for inputs in orders]
    for one, other in zip(alone, latents(TECHNIQUE, context, *orders), strict=True):
        assert off(one, other) < 1e-4


def test_what_computes_otherwise_is_not_batched(sdxl: StableDiffusion) -> None:
    orders = [
        asked(),
        asked(PAPER),
        asked(strength=0.0),
        asked(TEXT, strength=0.0),
        asked(CSGOParams(num_style_tokens=16)),
        asked(width=128, height=128),
    ]
    assert len({TECHNIQUE.batch_key(inputs, sdxl) for inputs in orders}) == len(orders)
    alike = [asked(style=4, strength=0.3), asked(TEXT), asked(size=(100, 100)), asked(content=None)]
    assert {TECHNIQUE.batch_key(inputs, sdxl) for inputs in alike} == {TECHNIQUE.batch_key(asked(), sdxl)}


def test_the_engine_batches_requests_of_different_styles(sdxl: StableDiffusion, weights: Installed) -> None:
    works = [
        work("csgo", sdxl, "a red house", 1, content=True),
        work("csgo", sdxl, "a cat", 2, content=True, task="text_edit_driven"),
    ]
    assert require_the_same_alone(works, sdxl, weights) == [4, 4]


@pytest.mark.parametrize("fails", [False, True])
def test_both_networks_are_left_as_they_were(sdxl: StableDiffusion, weights: Installed, fails: bool) -> None:
    context = bench_on(sdxl, weights)
    require_no_trace(TECHNIQUE, context, asked(PAPER), own(context).controlnet, fails=fails)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (asked(CSGOParams(task="image_driven"), content=None), "give one, or use task text_driven"),
        (asked(CSGOParams(task="text_edit_driven"), content=None), "paints a content_image again"),
        (asked(TEXT, prompts=(" ",)), "give a prompt"),
        (asked(content=None, prompts=("",)), "give a prompt"),
        (asked(TEXT, content=None, width=68), "multiples of 8"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    sdxl: StableDiffusion, weights: Installed, inputs: GenerationInputs, text: str
) -> None:
    with pytest.raises(Refused, match=text):
        TECHNIQUE.prepare(inputs, bench_on(sdxl, weights))


def test_an_sd15_model_without_csgo_weights_of_its_own_is_refused(tiny_root: Path, weights: Installed) -> None:
    with pytest.raises(Refused, match="published for sdxl only, and sd15 has no csgo weights of its own"):
        TECHNIQUE.prepare(asked(width=64, height=64), bench_on(load(tiny_root / "sd15"), weights))


def test_what_is_not_installed_is_named_with_the_command(sdxl: StableDiffusion, weights: Installed) -> None:
    def lacking(model: str, name: str) -> Path:
        if name == model:
            raise WeightsMissing(name)
        return weights(name)

    for model, pulled in (("csgo", "csgo"), (network.CONTROLNET, network.CONTROLNET), (network.IMAGE_ENCODER, "csgo")):
        with pytest.raises(WeightsMissing, match=f"stylize models pull {pulled}"):
            TECHNIQUE.prepare(asked(), bench_on(sdxl, lambda name, model=model: lacking(model, name)))
    with pytest.raises(WeightsMissing, match=r"stylize models pull csgo-16"):
        TECHNIQUE.prepare(asked(CSGOParams(num_style_tokens=16)), bench_on(sdxl, weights))


def test_the_spec_needs_only_its_weights() -> None:
    assert SPEC.weights == (network.CHECKPOINTS[32], network.CONTROLNET)
    assert set(SPEC.bases) == {"sdxl", "sd15"}
    assert SPEC.experimental_on == ("sd15",)
