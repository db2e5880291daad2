"""FLUX.1 as a backbone: what its steps need not compute anew, beside diffusers' own pipeline on the same weights."""

import pytest
import torch
from diffusers import FluxPipeline
from torch import Tensor

from workers.engine.backbones import patches
from workers.engine.backbones.flux import CachedRotary, Flux, pack
from workers.engine.denoise import Trajectory, denoise, gather

STEPS, GUIDANCE, TOKENS = 3, 3.5, 32


def started(flux: Flux, width: int, height: int) -> Trajectory:
    size = {"width": width, "height": height}
    text, _ = flux.condition(["a tower"], None, guided=False, text_tokens=TOKENS, embedded_guidance=GUIDANCE, **size)
    noise = torch.randn(1, *flux.latent_shape(**size), generator=torch.Generator().manual_seed(0))
    return Trajectory(noise, flux.build_scheduler("euler", STEPS, **size), text)


def drawn(flux: Flux, width: int, height: int) -> Tensor:
    trajectory = started(flux, width, height)
    denoise(flux.predict, [trajectory])
    return trajectory.latents


def of_diffusers(flux: Flux, width: int, height: int) -> Tensor:
    start = started(flux, width, height)
    pipe = FluxPipeline(**flux.pipe.components)
    pipe.set_progress_bar_config(disable=True)
    return pipe(
        prompt_embeds=start.positive.text,
        pooled_prompt_embeds=start.positive.added["pooled"],
        guidance_scale=GUIDANCE,
        num_inference_steps=STEPS,
        width=width,
        height=height,
        latents=pack(start.latents),
        output_type="latent",
    ).images


@pytest.mark.parametrize("size", [(64, 96), (96, 64)])  # as many tokens, at other places
def test_a_picture_is_that_of_the_pipeline_of_diffusers(flux: Flux, size: tuple[int, int]) -> None:
    torch.testing.assert_close(pack(drawn(flux, *size)), of_diffusers(flux, *size), rtol=0, atol=1e-5)
    torch.testing.assert_close(pack(drawn(flux, *size)), of_diffusers(flux, *size), rtol=0, atol=1e-5)


def test_the_rotary_tables_are_computed_once_for_all_steps_of_a_size(flux: Flux) -> None:
    rotary = flux.denoiser.pos_embed
    assert isinstance(rotary, CachedRotary)
    computed: list[int] = []
    with patches.forward_hook(rotary.own, lambda module, args, kwargs, out: computed.append(len(args[0]))):
        for size in ((80, 64), (80, 64), (64, 80), (80, 64)):
            drawn(flux, *size)
    assert computed == [TOKENS + 4 * 5] * 3


def test_gradients_pass_after_tables_were_computed_without(flux: Flux) -> None:
    drawn(flux, 64, 64)
    trajectory = started(flux, 64, 64)
    trajectory.latents.requires_grad_()
    flux.predict(gather([trajectory])).sum().backward()
    assert trajectory.latents.grad is not None
    assert trajectory.latents.grad.abs().sum() > 0
