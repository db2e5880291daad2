"""Requests share one base model: caching, batching, and a backbone that is as it was."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.techniques.batching import require_the_same_alone, work
from tests.support.techniques.caching import require_no_trace
from tests.support.techniques.encoder_samples import bench_on, inputs, latents, nothing_installed, picture
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import DiskTier, MemoryTier
from workers.engine.denoise import denoise
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, Technique, text_to_image
from workers.techniques.encoder.attention import ImageStream
from workers.techniques.encoder.clip import ClipImageEncoder
from workers.techniques.encoder.instantstyle.spec import InstantStyleParams
from workers.techniques.encoder.instantstyle.technique import InstantStyle
from workers.techniques.encoder.ip_adapter.spec import IPAdapterParams
from workers.techniques.encoder.ip_adapter.technique import IPAdapter
from workers.techniques.encoder.params import EncoderParams

Installed = Callable[[str], Path]
KINDS: list[tuple[Technique, EncoderParams]] = [
    (IPAdapter(), IPAdapterParams(scale=0.7)),
    (IPAdapter(), IPAdapterParams(adapter="plus")),
    (InstantStyle(), InstantStyleParams()),
    (InstantStyle(), InstantStyleParams(mode="style+layout", neg_content_prompt="a cat")),
]
each_kind = pytest.mark.parametrize(("technique", "params"), KINDS)


@pytest.fixture
def rows(backbone: StableDiffusion) -> Any:
    """Counts the rows of UNet calls."""
    counted: list[int] = []
    with_hook = backbone.denoiser.register_forward_pre_hook(lambda unet, given: counted.append(len(given[0])))
    yield counted
    with_hook.remove()


@each_kind
def test_strength_0_is_plain_text_to_image(
    backbone: StableDiffusion, technique: Technique, params: EncoderParams
) -> None:
    context = bench_on(backbone, nothing_installed)
    expected = text_to_image(inputs(params), context)
    denoise(backbone.predict, [expected])
    assert torch.equal(latents(technique, context, inputs(params, strength=0.0))[0], expected.latents)
    assert context.cache.outcome == "none"


def test_strength_multiplies_the_scale(sd15: StableDiffusion, installed: Installed) -> None:
    context, technique = bench_on(sd15, installed), IPAdapter()
    [half] = latents(technique, context, inputs(IPAdapterParams(scale=0.8), strength=0.5))
    [same] = latents(technique, context, inputs(IPAdapterParams(scale=0.4), strength=1.0))
    assert torch.allclose(half, same, atol=1e-5)


@each_kind
def test_a_warm_style_costs_no_more_rows_than_plain_and_gives_the_same(
    backbone: StableDiffusion,
    installed: Installed,
    technique: Technique,
    params: EncoderParams,
    rows: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = StyleCache([MemoryTier("host", 1 << 28)])
    [cold] = latents(technique, bench_on(backbone, installed, cache), inputs(params))
    rows.clear()
    monkeypatch.setattr(ClipImageEncoder, "features", None)
    warm_bench = bench_on(backbone, installed, cache)
    [warm] = latents(technique, warm_bench, inputs(params))
    warm_rows = sum(rows)
    rows.clear()
    trajectory = text_to_image(inputs(params), warm_bench)
    denoise(backbone.predict, [trajectory])
    assert torch.allclose(warm, cold, atol=1e-4)
    assert warm_bench.cache.outcome == "hit"
    assert warm_rows == sum(rows) == 2 * trajectory.steps


def test_a_style_survives_on_disk(sd15: StableDiffusion, installed: Installed, tmp_path: Path) -> None:
    technique, params = IPAdapter(), IPAdapterParams()
    [cold] = latents(
        technique, bench_on(sd15, installed, StyleCache([DiskTier("disk", 1 << 28, tmp_path)])), inputs(params)
    )
    context = bench_on(sd15, installed, StyleCache([DiskTier("disk", 1 << 28, tmp_path)]))
    assert torch.allclose(latents(technique, context, inputs(params))[0], cold, atol=1e-4)
    assert context.cache.outcome == "hit"


def test_everything_the_result_depends_on_is_in_the_key(sd15: StableDiffusion, installed: Installed) -> None:
    cache, technique = StyleCache([MemoryTier("host", 1 << 28)]), InstantStyle()
    base = InstantStyleParams(mode="all")
    changes: list[dict[str, Any]] = [
        {},
        {"adapter": "plus"},
        {"fit": "squash"},
        {"combine": "mean"},
        {"neg_content_prompt": "a cat"},
        {"neg_content_prompt": "a dog"},
        {"neg_content_prompt": "a cat", "neg_content_scale": 1.0},
    ]
    pictures = (picture(), picture(1))
    asked = [inputs(base.model_copy(update=change), *pictures, steps=1) for change in changes]
    asked += [
        inputs(base, *reversed(pictures), style_weights=(3.0, 1.0)),
        inputs(base, *pictures, style_weights=(3.0, 1.0)),
    ]
    for each in asked:
        [shared] = latents(technique, bench_on(sd15, installed, cache), each)
        [fresh] = latents(technique, bench_on(sd15, installed), each)
        assert torch.allclose(shared, fresh, atol=1e-4), each.params


def test_simultaneous_first_requests_build_a_style_once(
    sd15: StableDiffusion, installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[int] = []
    features = ClipImageEncoder.features

    def counted(self: ClipImageEncoder, *given: Any) -> torch.Tensor:
        built.append(1)
        return features(self, *given)

    monkeypatch.setattr(ClipImageEncoder, "features", counted)
    cache, technique, params = StyleCache([MemoryTier("host", 1 << 28)]), IPAdapter(), IPAdapterParams()

    def prepare(_: int) -> ImageStream:
        [stream] = technique.prepare(inputs(params), bench_on(sd15, installed, cache)).extra
        return stream

    with ThreadPoolExecutor(8) as threads:
        streams = list(threads.map(prepare, range(8)))
    assert len(built) == 1
    first = streams[0].conditional
    assert all(torch.equal(stream.conditional[name], kv) for stream in streams for name, kv in first.items())


def mixed_orders(
    first: EncoderParams, second: EncoderParams
) -> tuple[GenerationInputs, GenerationInputs, GenerationInputs]:
    return (
        inputs(first, picture(0), strength=0.5),
        inputs(
            second,
            picture(1),
            prompts=("a blue cat", "a dog"),
            seeds=(8, 9),
            noise=SeededNoise((8, 9)),
            steps=3,
            negative_prompt="blurry",
        ),
        inputs(first, picture(2), guidance_scale=1.0),
    )


@pytest.mark.parametrize(
    ("technique", "first", "second"),
    [
        (IPAdapter(), IPAdapterParams(), IPAdapterParams(scale=0.3, target_blocks=("up_blocks.1", "mid_block"))),
        (InstantStyle(), InstantStyleParams(), InstantStyleParams(mode="style+layout", neg_content_prompt="a cat")),
    ],
)
def test_a_result_does_not_depend_on_its_batch(
    backbone: StableDiffusion, installed: Installed, technique: Technique, first: EncoderParams, second: EncoderParams
) -> None:
    if backbone.base == "sdxl" and isinstance(second, IPAdapterParams):
        second = second.model_copy(update={"target_blocks": ("up_blocks.0", "mid_block")})
    context, orders = bench_on(backbone, installed), mixed_orders(first, second)
    assert len({technique.batch_key(each, backbone) for each in orders}) == 1
    alone = [latents(technique, context, each)[0] for each in orders]
    together = latents(technique, context, *orders)
    for one, other in zip(alone, together, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_what_has_another_number_of_image_tokens_is_not_batched(sd15: StableDiffusion) -> None:
    technique = IPAdapter()
    both = (picture(), picture(1))
    orders = [
        inputs(IPAdapterParams()),
        inputs(IPAdapterParams(), *both),
        inputs(IPAdapterParams(adapter="plus")),
        inputs(IPAdapterParams(), strength=0.0),
        inputs(IPAdapterParams(), width=128),
    ]
    assert len({technique.batch_key(each, sd15) for each in orders}) == len(orders)
    same = [inputs(IPAdapterParams(combine="mean"), *both), inputs(IPAdapterParams(), *both, style_weights=(1.0, 0.0))]
    assert {technique.batch_key(each, sd15) for each in same} == {technique.batch_key(orders[0], sd15)}


def test_the_engine_batches_requests_of_different_styles(sd15: StableDiffusion, installed: Installed) -> None:
    works = [
        work("instantstyle", sd15, "a red house", 1, target_blocks=["block"]),
        work("instantstyle", sd15, "a cat", 2, mode="style+layout"),
    ]
    assert require_the_same_alone(works, sd15, installed) == [4, 4]


@each_kind
@pytest.mark.parametrize("fails", [False, True])
def test_the_base_model_is_left_as_it_was(
    backbone: StableDiffusion, installed: Installed, technique: Technique, params: EncoderParams, fails: bool
) -> None:
    require_no_trace(technique, bench_on(backbone, installed), inputs(params), fails=fails)


def test_only_the_selected_attentions_are_replaced(sdxl: StableDiffusion, installed: Installed) -> None:
    technique = InstantStyle()
    trajectory = technique.prepare(inputs(InstantStyleParams()), bench_on(sdxl, installed))
    before = sdxl.denoiser.attn_processors
    with technique.patch(sdxl, [trajectory]):
        during = sdxl.denoiser.attn_processors
        changed = [name for name in before if during[name] is not before[name]]
    assert len(changed) == 2
    assert all(name.startswith("up_blocks.0.attentions.1.") and name.endswith("attn2.processor") for name in changed)
