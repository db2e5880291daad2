"""The loop: equal to diffusers' own pipeline, independent of batch partners, stopped within a step."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from workers.contract.spec import Params
from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.denoise import DenoiserCall, Hooks, Trajectory, denoise, gather
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, PrepareContext, text_to_image

# diffusers' sigma schedulers turn tensors into arrays in numpy's old way
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def inputs(backbone: StableDiffusion, seed: int = 1, **more: object) -> GenerationInputs:
    side = 64 if backbone.base == "sd15" else 128
    fields = {
        "prompts": ("a red house",),
        "seeds": (seed,),
        "width": side,
        "height": side,
        "steps": 3,
        "guidance_scale": 5.0,
        "params": Params(),
        "noise": SeededNoise((seed,)),
    }
    return GenerationInputs(**fields | more)  # type: ignore[arg-type]


def run(
    backbone: StableDiffusion, context: PrepareContext, asked: GenerationInputs, sampler: str = "ddim"
) -> torch.Tensor:
    trajectory = text_to_image(asked, replace(context, backbone=backbone), sampler=sampler)
    denoise(backbone.predict, [trajectory])
    return trajectory.latents


@pytest.mark.parametrize("sampler", ["ddim", "euler", "dpm++", "unipc", "pndm"])
def test_it_gives_what_diffusers_gives(backbone: StableDiffusion, context: PrepareContext, sampler: str) -> None:
    asked = inputs(backbone, negative_prompt="blurry")
    ours = run(backbone, context, asked, sampler)
    pipe = backbone.pipe
    before = pipe.scheduler
    pipe.scheduler = text_to_image(asked, replace(context, backbone=backbone), sampler=sampler).scheduler
    try:
        theirs = pipe(
            prompt="a red house",
            negative_prompt="blurry",
            num_inference_steps=3,
            guidance_scale=5.0,
            width=asked.width,
            height=asked.height,
            latents=asked.noise.normal("initial", backbone.latent_shape(asked.width, asked.height)),
            output_type="latent",
        ).images
    finally:
        pipe.scheduler = before
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_a_guidance_of_one_runs_no_unconditional_rows(sd15: StableDiffusion, context: PrepareContext) -> None:
    trajectory = text_to_image(inputs(sd15, guidance_scale=1.0), context)
    assert gather([trajectory]).sample.shape[0] == 1
    assert gather([text_to_image(inputs(sd15), context)]).sample.shape[0] == 2


def test_the_same_seed_gives_the_same_bytes(sd15: StableDiffusion, context: PrepareContext) -> None:
    assert torch.equal(run(sd15, context, inputs(sd15)), run(sd15, context, inputs(sd15)))
    assert not torch.equal(run(sd15, context, inputs(sd15)), run(sd15, context, inputs(sd15, seed=2)))


def test_a_result_does_not_depend_on_its_batch(backbone: StableDiffusion, context: PrepareContext) -> None:
    there = replace(context, backbone=backbone)
    asked = [
        inputs(backbone, 1),
        inputs(backbone, 2, guidance_scale=1.0, prompts=("a dog",), steps=5),
        inputs(backbone, 3, guidance_scale=9.0, prompts=("a boat at sea",), steps=2),
    ]
    alone = [run(backbone, context, one) for one in asked]
    together = [text_to_image(one, there) for one in asked]
    together[2].scheduler = text_to_image(asked[2], there, sampler="dpm++").scheduler
    alone[2] = run(backbone, context, asked[2], "dpm++")
    denoise(backbone.predict, together)
    for trajectory, latents in zip(together, alone, strict=True):
        torch.testing.assert_close(trajectory.latents, latents, rtol=0, atol=1e-4)


def test_the_hooks_see_each_call_and_can_change_everything(sd15: StableDiffusion, context: PrepareContext) -> None:
    seen: list[str] = []

    class Recording(Hooks):
        def before_predict(self, call: DenoiserCall) -> None:
            assert [(rows.conditional, rows.start, rows.stop) for rows in call.rows] == [(False, 0, 1), (True, 1, 2)]
            seen.append("before")

        def after_guidance(self, trajectory: Trajectory, noise: torch.Tensor, call: DenoiserCall) -> torch.Tensor:
            seen.append("guided")
            return torch.zeros_like(noise)

        def after_step(self, trajectory: Trajectory) -> None:
            seen.append(f"after {trajectory.step}")
            trajectory.latents = torch.full_like(trajectory.latents, 7.0)

    trajectory = text_to_image(inputs(sd15, steps=2), context)
    denoise(sd15.predict, [trajectory], hooks=Recording())
    assert seen == ["before", "guided", "after 1", "before", "guided", "after 2"]
    assert trajectory.latents.unique().tolist() == [7.0]


def test_a_watcher_that_raises_ends_it_within_a_step(sd15: StableDiffusion, context: PrepareContext) -> None:
    trajectory = text_to_image(inputs(sd15, steps=5), context)

    def watch(one: Trajectory) -> None:
        if one.step == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        denoise(sd15.predict, [trajectory], watch=watch)
    assert trajectory.step == 2


def test_a_stopped_trajectory_leaves_the_batch_and_the_other_goes_on(
    sd15: StableDiffusion, context: PrepareContext
) -> None:
    stopped, other = text_to_image(inputs(sd15, 1, steps=4), context), text_to_image(inputs(sd15, 2, steps=4), context)

    def watch(one: Trajectory) -> None:
        one.stopped |= one is stopped and one.step == 1

    denoise(sd15.predict, [stopped, other], watch=watch)
    assert (stopped.step, other.step) == (1, 4)
    torch.testing.assert_close(other.latents, run(sd15, context, inputs(sd15, 2, steps=4)), rtol=0, atol=1e-4)


def test_inversion_is_the_same_loop(sd15: StableDiffusion, context: PrepareContext) -> None:
    from workers.engine import schedulers

    there = text_to_image(inputs(sd15, guidance_scale=1.0, steps=50), context)
    clean = 0.5 * there.latents
    there.latents, there.scheduler = clean, schedulers.build(schedulers.INVERSE, sd15.scheduler_config, 50)
    context.denoise([there])
    assert there.step == 50
    assert (there.latents - clean).abs().mean() > 0.1


def test_half_precision_is_the_networks_alone(tiny_root: Path, sd15: StableDiffusion, context: PrepareContext) -> None:
    half = load(tiny_root / "sd15", dtype=torch.bfloat16)
    assert (half.denoiser.dtype, half.pipe.text_encoder.dtype, half.vae.dtype) == (
        torch.bfloat16,
        torch.bfloat16,
        torch.float32,
    )
    asked = inputs(sd15, steps=2)
    latents = run(half, context, asked)
    assert latents.dtype == torch.float32
    assert torch.corrcoef(torch.stack([latents.flatten(), run(sd15, context, asked).flatten()]))[0, 1] > 0.99
    assert half.decode(latents)[0].shape == (3, 64, 64)
