"""Signal leak: its formulas, its strength, its refusals; on both base models and every sampler."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from workers.engine import schedulers
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.denoise import denoise
from workers.engine.errors import Refused
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext, text_to_image
from workers.techniques.prior_noise.signal_leak import math as leak_math
from workers.techniques.prior_noise.signal_leak.spec import SignalLeakParams
from workers.techniques.prior_noise.signal_leak.technique import SignalLeak

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (70, 64, 3), dtype=np.uint8))


def inputs(params: SignalLeakParams | None = None, pictures: int = 1, **more: object) -> GenerationInputs:
    fields = {
        "prompts": ("a red house", "a dog"),
        "seeds": (1, 2),
        "width": 64,
        "height": 64,
        "steps": 4,
        "guidance_scale": 5.0,
        "params": params or SignalLeakParams(),
        "noise": SeededNoise((1, 2)),
        "pictures": Pictures(tuple(picture(n) for n in range(pictures))),
    }
    return GenerationInputs(**fields | more)  # type: ignore[arg-type]


def test_the_mix_is_the_papers() -> None:
    s, e2 = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2)
    x = leak_math.mixed(s, e2, a=0.36, k=2.0)
    torch.testing.assert_close(x, 0.6 * 2 * s + 0.8 * e2)


@pytest.mark.parametrize(("steps", "root"), [(50, 0.0760), (20, 0.0903), (10, 0.1183), (4, 0.2360)])
def test_the_signal_of_the_first_timestep(sd15: StableDiffusion, steps: int, root: float) -> None:
    assert math.sqrt(schedulers.signal(schedulers.build("ddim", sd15.scheduler_config, steps))) == pytest.approx(
        root, abs=5e-5
    )


def test_no_strength_is_plain_text_to_image_exactly(backbone: StableDiffusion, context: PrepareContext) -> None:
    there = replace(context, backbone=backbone)
    asked = inputs(strength=0.0)
    assert torch.equal(SignalLeak().prepare(asked, there).latents, text_to_image(asked, there).latents)


def test_strength_scales_the_leak_and_not_the_noise(backbone: StableDiffusion, context: PrepareContext) -> None:
    there = replace(context, backbone=backbone)
    none, half, full = (SignalLeak().prepare(inputs(strength=strength), there).latents for strength in (1e-9, 0.5, 1.0))
    torch.testing.assert_close(half - none, (full - none) / 2, rtol=0, atol=1e-5)
    assert (full - none).abs().max() > 1e-3


@pytest.mark.parametrize("sampler", ["ddim", "euler", "dpm++", "unipc", "pndm"])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_every_sampler_starts_from_the_same_picture_and_noise(
    context: PrepareContext, sampler: str, spacing: str
) -> None:
    config = dict(context.backbone.scheduler_config, timestep_spacing=spacing)
    asked = inputs(SignalLeakParams(sampler=sampler, single_reference="layout"), scheduler_config=config)
    trajectory = SignalLeak().prepare(asked, context)
    scheduler = trajectory.scheduler
    seen = scheduler.scale_model_input(trajectory.latents, scheduler.timesteps[0])
    a = schedulers.signal(scheduler)
    z = context.backbone.encode(torch.zeros(1, 3, 64, 64))
    e2 = asked.noise.normal("initial", z.shape[1:])
    leaked = (seen - math.sqrt(1 - a) * e2) / math.sqrt(a)
    assert (leaked[0] - leaked[1]).abs().max() < 0.05, "both pictures leak the one layout"


def test_all_forms_run_and_differ(context: PrepareContext) -> None:
    forms = [
        inputs(SignalLeakParams(single_reference="palette")),
        inputs(SignalLeakParams(single_reference="layout")),
        inputs(SignalLeakParams(single_reference="low-frequency", n_components=6)),
        inputs(pictures=3),
        inputs(SignalLeakParams(statistic_type="dct+pixel", n_components=4), pictures=3),
        inputs(SignalLeakParams(statistic_type="dct+pixel", only_hf=True, channel=1, value=-2.0), pictures=3),
        inputs(SignalLeakParams(color=(1.9, 1.3, 0.0, -1.0))),
        inputs(pictures=3, style_weights=(0.0, 1.0, 0.0)),
        inputs(width=128),
    ]
    starts = [SignalLeak().prepare(asked, context).latents for asked in forms]
    for n, one in enumerate(starts):
        assert one.isfinite().all()
        assert all(one.shape != other.shape or not torch.equal(one, other) for other in starts[:n])


def test_a_style_is_measured_once(context: PrepareContext) -> None:
    SignalLeak().prepare(inputs(pictures=2), context)
    SignalLeak().prepare(inputs(pictures=2, seeds=(5, 6), steps=9), context)
    assert (context.cache.hits, context.cache.misses) == (1, 1)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (inputs(scheduler_config={"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}), "keeps no signal"),
        (inputs(SignalLeakParams(statistic_type="dct+pixel"), pictures=2, width=128), "square"),
        (inputs(SignalLeakParams(only_hf=True), pictures=2), "only_hf"),
        (inputs(SignalLeakParams(channel=9, value=1.0)), "channel"),
        (inputs(SignalLeakParams(color=(1.0,))), "color"),
        (inputs(SignalLeakParams(single_reference="low-frequency", dct_indices=((0, 8),))), "dct_indices"),
    ],
)
def test_what_is_undefined_is_refused(context: PrepareContext, asked: GenerationInputs, text: str) -> None:
    with pytest.raises(Refused, match=text):
        SignalLeak().prepare(asked, context)


def test_installed_statistics_take_the_place_of_pictures(context: PrepareContext, tmp_path: Path) -> None:
    save_file({"mean_pixels": torch.ones(4, 8, 8), "var_pixels": torch.zeros(4, 8, 8)}, tmp_path / "stats.safetensors")
    (tmp_path / "statistic_type.txt").write_text("pixel")
    there = replace(context, weights=lambda name: tmp_path)
    asked = inputs(SignalLeakParams(statistics="sky"), pictures=0)
    started = SignalLeak().prepare(asked, there)
    a = schedulers.signal(started.scheduler)
    e2 = asked.noise.normal("initial", (4, 8, 8))
    torch.testing.assert_close(started.latents, math.sqrt(a) + math.sqrt(1 - a) * e2)
    with pytest.raises(Refused, match="latents of"):
        SignalLeak().prepare(replace(asked, width=128), there)
    (tmp_path / "statistic_type.txt").write_text("wavelet")
    with pytest.raises(Refused, match="wavelet"):
        SignalLeak().prepare(asked, there)


def test_values_that_make_no_sense_together() -> None:
    with pytest.raises(ValueError, match="channel"):
        SignalLeakParams(value=1.0)
    with pytest.raises(ValueError, match="pattern"):
        SignalLeakParams(statistics="../sky")
    with pytest.raises(ValueError, match="repeats"):
        SignalLeakParams(dct_indices=((0, 0), (0, 0)))


def evaluations(context: PrepareContext, asked: GenerationInputs, technique: SignalLeak | None) -> int:
    """Count the rows that go through the UNet from order to latents."""
    rows: list[int] = []
    hook = context.backbone.denoiser.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    try:
        trajectory = technique.prepare(asked, context) if technique else text_to_image(asked, context)
        denoise(context.backbone.predict, [trajectory])
    finally:
        hook.remove()
    return sum(rows)


def test_it_costs_no_unet_evaluations_not_even_cold(context: PrepareContext) -> None:
    asked = inputs(pictures=2)
    assert evaluations(context, asked, SignalLeak()) == evaluations(context, asked, None) == 4 * 2 * 2


def test_warm_equals_cold_exactly(context: PrepareContext) -> None:
    cold, warm = (SignalLeak().prepare(inputs(pictures=3), context).latents for _ in range(2))
    assert context.cache.hits == 1
    assert torch.equal(cold, warm)
