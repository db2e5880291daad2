"""DEADiff's requests: modes, strength, cache, batches, and a base model that is as it was."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.support.models import around
from tests.support.techniques.batching import require_the_same_alone, work
from tests.support.techniques.caching import require_no_trace, unchanged
from tests.support.techniques.encoder_samples import bench_on, inputs, latents, nothing_installed, picture
from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.conditioning import Condition
from workers.engine.denoise import Hooks, Trajectory, denoise
from workers.engine.errors import Refused
from workers.engine.noise import SeededNoise
from workers.engine.technique import text_to_image
from workers.techniques.encoder.deadiff import checkpoint
from workers.techniques.encoder.deadiff.attention import ShownImage, joint_attention
from workers.techniques.encoder.deadiff.own_weights import OwnWeights
from workers.techniques.encoder.deadiff.reader import Reader
from workers.techniques.encoder.deadiff.spec import DeadiffParams
from workers.techniques.encoder.deadiff.technique import Deadiff

Installed = Callable[[str], Path]
TECHNIQUE, PARAMS = Deadiff(), DeadiffParams()
BOTH, CONTENT = DeadiffParams(subject_text="style & content"), DeadiffParams(subject_text="content")


def fresh() -> StyleCache:
    return StyleCache([MemoryTier("host", 1 << 28)])


def plainly(backbone: StableDiffusion, **more: Any) -> Tensor:
    trajectory = text_to_image(inputs(PARAMS, **more), bench_on(backbone, nothing_installed))
    denoise(backbone.predict, [trajectory])
    return trajectory.latents


@pytest.fixture
def rows(sd15: StableDiffusion) -> Any:
    """Counts the rows of UNet calls."""
    counted: list[int] = []
    hook = sd15.denoiser.register_forward_pre_hook(lambda unet, given: counted.append(len(given[0])))
    yield counted
    hook.remove()


def test_strength_0_is_plain_text_to_image(sd15: StableDiffusion) -> None:
    context = bench_on(sd15, nothing_installed)
    assert torch.equal(latents(TECHNIQUE, context, inputs(BOTH, strength=0.0))[0], plainly(sd15))
    assert context.cache.outcome == "none"


def test_a_small_strength_is_nearly_plain_and_a_larger_one_farther_off(
    sd15: StableDiffusion, installed: Installed
) -> None:
    context, params = bench_on(sd15, installed), DeadiffParams(base_weights="model")
    expected = plainly(sd15)
    off = [
        float((latents(TECHNIQUE, context, inputs(params, strength=s))[0] - expected).abs().mean())
        for s in (1e-6, 0.05, 0.3, 1.0)
    ]
    assert off[0] < 1e-3
    assert off == sorted(off)
    assert off[-1] > 0.1


def test_the_weight_0_is_not_plain(sd15: StableDiffusion, installed: Installed) -> None:
    nothing = DeadiffParams(img_weight=0.0, base_weights="model")
    [found] = latents(TECHNIQUE, bench_on(sd15, installed), inputs(nothing))
    assert not torch.allclose(found, plainly(sd15), atol=0.05)


def test_each_side_is_shown_to_its_layers(sd15: StableDiffusion, installed: Installed) -> None:
    context = bench_on(sd15, installed)
    seen = {params.subject_text: TECHNIQUE.prepare(inputs(params), context).extra for params in (PARAMS, CONTENT, BOTH)}
    style, content, both = (seen[name].keys_values for name in ("style", "content", "style & content"))
    assert (len(style), len(content), len(both)) == (11, 5, 16)
    assert all(torch.equal(both[layer], kv) for layer, kv in (style | content).items())
    results = [latents(TECHNIQUE, context, inputs(params))[0] for params in (PARAMS, CONTENT, BOTH)]
    assert all(not torch.allclose(one, other, atol=0.05) for one, other in pairwise(results))


def test_the_weight_is_on_keys_and_values(sd15: StableDiffusion, installed: Installed) -> None:
    context = bench_on(sd15, installed)
    once, half = (TECHNIQUE.prepare(inputs(DeadiffParams(img_weight=w)), context).extra.keys_values for w in (1.0, 0.5))
    assert all(torch.equal(half[layer], 0.5 * both) for layer, both in once.items())


def test_without_guidance_the_weight_still_counts(sd15: StableDiffusion, installed: Installed) -> None:
    context = bench_on(sd15, installed)
    [alone] = latents(TECHNIQUE, context, inputs(DeadiffParams(img_weight=2.0), guidance_scale=1.0))
    [guided] = latents(TECHNIQUE, context, inputs(DeadiffParams(img_weight=2.0), guidance_scale=1.001))
    [other] = latents(TECHNIQUE, context, inputs(PARAMS, guidance_scale=1.0))
    assert torch.allclose(alone, guided, atol=0.05)
    assert not torch.allclose(alone, other, atol=0.05)


def test_the_models_own_weights_are_another_choice(sd15: StableDiffusion, installed: Installed) -> None:
    context = bench_on(sd15, installed)
    [theirs], [ours] = (
        latents(TECHNIQUE, context, inputs(DeadiffParams(base_weights=w))) for w in ("checkpoint", "model")
    )
    assert not torch.equal(theirs, ours)
    assert torch.allclose(theirs, ours, atol=0.2)


def test_a_base_model_that_predicts_v_keeps_its_own_weights(
    sd15: StableDiffusion, installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sd15.scheduler_config, "prediction_type", "v_prediction")
    context = bench_on(sd15, installed)
    with pytest.raises(Refused, match="deadiff with its own weights needs a base model that predicts noise"):
        TECHNIQUE.prepare(inputs(PARAMS), context)
    assert not TECHNIQUE.prepare(inputs(DeadiffParams(base_weights="model")), context).extra.own_weights.unet.changes


@pytest.mark.parametrize(("steps", "made"), [(4, 4), (6, 7), (30, 31)])
def test_the_authors_schedule_is_theirs(sd15: StableDiffusion, installed: Installed, steps: int, made: int) -> None:
    asked = inputs(DeadiffParams(schedule="ldm"), steps=steps)
    timesteps = TECHNIQUE.prepare(asked, bench_on(sd15, installed)).scheduler.timesteps
    assert timesteps.tolist() == [1 + k * (1000 // steps) for k in reversed(range(made))]
    even = TECHNIQUE.prepare(inputs(PARAMS, steps=steps), bench_on(sd15, installed)).scheduler.timesteps
    assert len(even) == steps
    assert torch.equal(even, timesteps) == (made == steps)


def test_the_authors_schedule_steps_down_to_the_first_noise_level(sd15: StableDiffusion, installed: Installed) -> None:
    context = bench_on(sd15, installed)
    trajectory = TECHNIQUE.prepare(inputs(DeadiffParams(schedule="ldm"), steps=6), context)
    a = trajectory.scheduler.alphas_cumprod
    x, e = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    for t, before in ((997, a[831]), (1, a[0])):
        x_0 = (x - (1 - a[t]).sqrt() * e) / a[t].sqrt()
        found = trajectory.scheduler.step(e, torch.tensor(t), x, return_dict=False)[0]
        assert torch.allclose(found, before.sqrt() * x_0 + (1 - before).sqrt() * e, atol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_it_goes_with_its_own_sampler_only(sd15: StableDiffusion, installed: Installed) -> None:
    params = DeadiffParams(schedule="ldm", sampler="euler")
    with pytest.raises(Refused, match=r"params\.schedule ldm goes with params\.sampler ddim"):
        TECHNIQUE.prepare(inputs(params), bench_on(sd15, installed))
    [found] = latents(TECHNIQUE, bench_on(sd15, installed), inputs(DeadiffParams(sampler="euler")))
    assert found.isfinite().all()


@pytest.mark.parametrize("params", [PARAMS, BOTH])
def test_a_warm_style_costs_no_more_rows_than_plain_and_gives_the_same(
    sd15: StableDiffusion, installed: Installed, params: DeadiffParams, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = fresh()
    [cold] = latents(TECHNIQUE, bench_on(sd15, installed, cache), inputs(params))
    rows.clear()
    monkeypatch.setattr(Reader, "tokens", None)
    warm_bench = bench_on(sd15, installed, cache)
    [warm] = latents(TECHNIQUE, warm_bench, inputs(params, prompts=("a red house",)))
    warm_rows = sum(rows)
    rows.clear()
    plainly(sd15)
    assert torch.allclose(warm, cold, atol=1e-4)
    assert warm_bench.cache.outcome == "hit"
    assert warm_rows == sum(rows) == 2 * 2


def test_everything_the_result_depends_on_is_in_the_key(sd15: StableDiffusion, installed: Installed) -> None:
    cache = fresh()
    asked = [inputs(params, picture(n)) for n in (0, 1) for params in (PARAMS, CONTENT, BOTH)]
    asked += [inputs(DeadiffParams(img_weight=0.3)), inputs(PARAMS, strength=0.5)]
    for each in asked:
        [shared] = latents(TECHNIQUE, bench_on(sd15, installed, cache), each)
        [alone] = latents(TECHNIQUE, bench_on(sd15, installed), each)
        assert torch.allclose(shared, alone, atol=1e-4), each.params


def test_simultaneous_first_requests_build_a_style_once(
    sd15: StableDiffusion, installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[int] = []
    tokens = Reader.tokens

    def counted(self: Reader, image: Any) -> Tensor:
        built.append(1)
        return tokens(self, image)

    monkeypatch.setattr(Reader, "tokens", counted)
    cache = fresh()

    def prepare(_: int) -> Trajectory:
        return TECHNIQUE.prepare(inputs(PARAMS), bench_on(sd15, installed, cache))

    with unchanged(sd15.denoiser), ThreadPoolExecutor(8) as threads:
        found = list(threads.map(prepare, range(8)))
    assert len(built) == 1
    first = found[0]
    assert all(torch.equal(each.positive.text, first.positive.text) for each in found)
    assert all(
        torch.equal(each.extra.keys_values[n], kv) for each in found for n, kv in first.extra.keys_values.items()
    )


def test_a_result_does_not_depend_on_its_batch(sd15: StableDiffusion, installed: Installed) -> None:
    two = SeededNoise((8, 9))
    orders = (
        inputs(DeadiffParams(img_weight=1.4), picture(0), strength=0.5),
        inputs(
            CONTENT, picture(1), prompts=("a cat", "a dog"), seeds=(8, 9), noise=two, steps=3, negative_prompt="blur"
        ),
        inputs(BOTH, picture(2), guidance_scale=1.0),
    )
    context = bench_on(sd15, installed)
    assert len({TECHNIQUE.batch_key(each, sd15) for each in orders}) == 1
    alone = [latents(TECHNIQUE, context, each)[0] for each in orders]
    for one, other in zip(alone, latents(TECHNIQUE, context, *orders), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_what_wants_other_weights_is_not_batched(sd15: StableDiffusion) -> None:
    orders = [
        inputs(PARAMS),
        inputs(DeadiffParams(base_weights="model")),
        inputs(PARAMS, strength=0.0),
        inputs(PARAMS, width=128),
    ]
    assert len({TECHNIQUE.batch_key(each, sd15) for each in orders}) == len(orders)


def test_the_engine_batches_requests_of_different_styles(sd15: StableDiffusion, installed: Installed) -> None:
    works = [
        work("deadiff", sd15, "a red house", 1),
        work("deadiff", sd15, "a cat", 2, subject_text="style & content"),
    ]
    assert require_the_same_alone(works, sd15, installed) == [4, 4]


@pytest.mark.parametrize("params", [BOTH, DeadiffParams(base_weights="model")])
@pytest.mark.parametrize("fails", [False, True])
def test_the_base_model_is_left_as_it_was(
    sd15: StableDiffusion, installed: Installed, params: DeadiffParams, fails: bool
) -> None:
    require_no_trace(TECHNIQUE, bench_on(sd15, installed), inputs(params), sd15.pipe.text_encoder, fails=fails)


def test_in_bfloat16_the_style_is_the_same_up_to_its_rounding(
    sd15: StableDiffusion, tiny_root: Path, installed: Installed
) -> None:
    half = load(tiny_root / "sd15", dtype=torch.bfloat16)
    [rounded], [exact] = (
        latents(TECHNIQUE, bench_on(half, installed), inputs(PARAMS)),
        latents(TECHNIQUE, bench_on(sd15, installed), inputs(PARAMS)),
    )
    assert torch.nn.functional.cosine_similarity(rounded.float().flatten(), exact.flatten(), dim=0) > 0.99


def test_in_bfloat16_nothing_of_the_base_model_is_kept_beside_it(tiny_root: Path, installed: Installed) -> None:
    half = load(tiny_root / "sd15", dtype=torch.bfloat16)
    own: OwnWeights = TECHNIQUE.prepare(inputs(PARAMS), bench_on(half, installed)).extra.own_weights
    assert not any((own.unet.rounded, own.unet.replaced, own.text.rounded, own.text.replaced))


def test_a_warm_style_costs_what_plain_text_to_image_costs() -> None:
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8).eval()
    layers = checkpoint.layers(unet)
    widths = {layer: unet.get_submodule(layer.removesuffix(".processor")).to_k.out_features for layer in layers}
    shown = ShownImage(
        {name: torch.empty(2, 16, n, device="meta") for name, n in widths.items()}, 16, 1.0, OwnWeights()
    )

    def flops(extra: ShownImage | None) -> int:
        scheduler = DDIMScheduler()
        scheduler.set_timesteps(1)
        half = Condition(torch.empty(1, 77, 768, device="meta"))
        sample = torch.empty(1, 4, 64, 64, device="meta")
        asked = Trajectory(sample, scheduler, half, Condition(half.text), 7.5, extra=extra)
        backbone = around(unet)
        with FlopCounterMode(display=False) as counter, joint_attention(backbone, [asked]) as hooks:
            assert isinstance(hooks, Hooks)
            denoise(backbone.predict, [asked], hooks=hooks)
        return counter.get_total_flops()

    assert 1.0 < flops(shown) / flops(None) < 1.005
