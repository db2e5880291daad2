"""ReNoise inversion on the one loop."""

from pathlib import Path

import torch

from tests.support.techniques.encoder_samples import bench_on, picture
from tests.support.techniques.instantstyle_plus_requests import asked, store
from workers.engine import schedulers
from workers.engine.backbones.stable_diffusion import StableDiffusion, unet_inputs
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import Trajectory
from workers.engine.technique import PrepareContext
from workers.techniques.encoder.instantstyle_plus import inversion, renoise
from workers.techniques.encoder.instantstyle_plus.inversion import RenoiseConfig, Rolls
from workers.techniques.encoder.instantstyle_plus.spec import InstantStylePlusParams
from workers.techniques.encoder.instantstyle_plus.technique import renoise_config

CONTENT = picture(7, (64, 64))


def config(backbone: StableDiffusion, steps: int = 3, K: int = 1) -> RenoiseConfig:
    return renoise_config(asked(steps=steps), InstantStylePlusParams(num_renoise_steps=K), backbone)


def predicted(backbone: StableDiffusion, start: Trajectory, x: torch.Tensor, t: int) -> torch.Tensor:
    with torch.no_grad():
        return backbone.denoiser(x, torch.tensor(t), **unet_inputs(start.positive), return_dict=False)[0]


def by_hand(backbone: StableDiffusion, asked_for: RenoiseConfig) -> torch.Tensor:
    """The spec's recurrence, one UNet row at a time."""
    begun = inversion.begin(CONTENT, "a house", asked_for, backbone)
    generator = torch.Generator().manual_seed(asked_for.seed)
    torch.randn(begun.z_0.shape, generator=generator)
    torch.randn(begun.n.shape, generator=generator)
    rolls, a = Rolls(generator), begun.trajectory.scheduler.alphas_cumprod
    k, z = 1000 // asked_for.steps, begun.z_0
    for i in range(asked_for.steps):
        t = 1 + i * k
        a_t, a_p = a[t], a[t - k] if t >= k else a[0]
        opt = predicted(backbone, begun.trajectory, a_t.sqrt() * begun.z_0 + (1 - a_t).sqrt() * begun.n, t)
        lo, hi = (0, 5) if t < 250 else (8, 10)
        x, seen = z, []
        for j in range((min(5, asked_for.K) if t < 250 else asked_for.K) + 1):
            eps = predicted(backbone, begun.trajectory, x, t)
            if lo <= j < hi:
                seen.append(eps)
            if j >= lo:
                eps = renoise.regularised(eps, opt, rolls)
            if seen and j == (min(5, asked_for.K) if t < 250 else asked_for.K):
                eps = renoise.regularised(torch.stack(seen).mean(0), opt, rolls)
            x = (a_t / a_p).sqrt() * z + ((1 - a_t).sqrt() - (a_t * (1 - a_p) / a_p).sqrt()) * eps
        z = x
    return z


def test_it_is_the_recurrence_of_the_spec(sdxl: StableDiffusion, tiny_root: Path) -> None:
    for K, close in ((0, 1e-3), (1, 2e-3), (9, 2e-2)):  # rounding grows with every refinement
        context = bench_on(sdxl, store(tiny_root))
        found = inversion.inverted(CONTENT, "a house", config(sdxl, steps=2, K=K), context)
        expected = by_hand(sdxl, config(sdxl, steps=2, K=K))
        assert torch.allclose(found, expected, atol=close * float(expected.abs().max())), K


def test_without_refinement_an_early_step_is_plain_ddim_inversion(sdxl: StableDiffusion) -> None:
    begun = inversion.begin(CONTENT, "", config(sdxl, steps=1, K=0), sdxl)
    scheduler = schedulers.build(schedulers.INVERSE, config(sdxl).scheduler_config, 3)
    trajectory = Trajectory(begun.z_0, scheduler, begun.trajectory.positive, step=1)
    expected = scheduler.step(predicted(sdxl, trajectory, begun.z_0, 334), torch.tensor(334), begun.z_0).prev_sample
    context = bench_on(sdxl, lambda name: Path(name))
    one = inversion.Inversion(trajectory, begun.hooks, begun.z_0, begun.n)
    seen: list[torch.Tensor] = []
    one.run(PrepareContext(sdxl, context.cache, context.weights, lambda t: seen.append(t.latents)))
    assert torch.allclose(seen[1], expected, atol=1e-5)


def test_rows_are_two_a_step_and_one_more_late(sdxl: StableDiffusion) -> None:
    context, rows = bench_on(sdxl, lambda name: Path(name)), list[int]()
    hook = sdxl.denoiser.register_forward_pre_hook(lambda unet, given: rows.append(len(given[0])))
    inversion.inverted(CONTENT, "", config(sdxl, steps=5), context)
    hook.remove()
    assert rows == [2, 1, 2, 1, 1, 1, 1, 1, 1, 1]


def test_an_inversion_is_kept_for_its_picture_prompt_and_recipe(sdxl: StableDiffusion) -> None:
    cache = StyleCache([MemoryTier("host", 1 << 28)])
    context = bench_on(sdxl, lambda name: Path(name), cache)
    usual = config(sdxl, steps=1)
    other = RenoiseConfig(usual.scheduler_config, usual.steps, usual.K, usual.seed + 1)
    kinds = [
        (CONTENT, "", usual),
        (picture(8, (64, 64)), "", usual),
        (CONTENT, "a house", usual),
        (CONTENT, "", other),
        (CONTENT, "", config(sdxl, steps=2)),
        (CONTENT, "", config(sdxl, steps=1, K=0)),
    ]
    found = [inversion.inverted(*kind, context) for kind in kinds]
    assert cache.misses == len(kinds)
    again = [inversion.inverted(*kind, context) for kind in kinds]
    assert cache.misses == len(kinds)
    assert all(torch.equal(one, two) for one, two in zip(found, again, strict=True))
    assert context.cache.outcome == "none"
