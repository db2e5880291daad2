"""Previews: the map from latents to colours, and sketches that change nothing."""

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from torch.nn.functional import avg_pool2d

from tests.unit.engine.test_engine import STYLE, engine, quiet, request  # noqa: F401  a fixture
from workers.engine.backbones.latent_preview import fit, projection
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.engine import DiffusionEngine
from workers.engine.images import to_signed
from workers.engine.types import BatchItem, PreviewFrame
from workers.training.starter.networks.autoencoder import build_autoencoder
from workers.training.starter.networks.patch_code import CHANNELS, fit_patch_code


def blots(seed: int, side: int) -> Image.Image:
    """A picture that is drawn of a few soft spots of colour."""
    spots = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(spots).resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def honest() -> StableDiffusion:
    """A backbone whose VAE draws what it has seen, with eight latent channels; the tiny models' VAEs draw at random."""
    pictures = np.stack([np.asarray(blots(seed, 128)) for seed in range(16)])
    vae: Any = build_autoencoder(fit_patch_code(pictures)).eval()
    unet = UNet2DConditionModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(4,),
        norm_num_groups=1,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        mid_block_type=None,
    )
    pipe = SimpleNamespace(unet=unet, vae=vae, scheduler=SimpleNamespace(config={}))
    return StableDiffusion(pipe, name="honest", base="sd15", fingerprint="", dtype=torch.float32)


def test_the_map_comes_near_to_what_the_vae_decodes(honest: StableDiffusion) -> None:
    latents = honest.encode(to_signed(blots(99, 256)))
    with torch.no_grad():
        decoded = avg_pool2d(honest.decode(latents), honest.vae_factor)
    drawn = fit(honest).picture(latents)
    assert drawn.size == (32, 32)
    difference = to_signed(drawn) - decoded.clamp(-1, 1)
    assert difference.square().mean() < 0.05 * decoded.var(), "at least 95 % of the variance"


def test_the_map_is_always_the_same_and_draws_no_random_number(sd15: StableDiffusion) -> None:
    before = torch.random.get_rng_state()
    one, two = fit(sd15), fit(sd15)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.weights, two.weights)
    assert torch.equal(one.offset, two.offset)
    assert projection(sd15) is projection(sd15), "fitted once"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' Euler on numpy 2
@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 3), ("euler", 3), ("pndm", 4)])
def test_a_sketch_after_each_step_and_the_same_picture(engine: DiffusionEngine, sampler: str, steps: int) -> None:  # noqa: F811
    shown: list[PreviewFrame] = []
    asked = request(steps=3, width=128, params={"sampler": sampler})
    (watched,) = engine.run_batch([BatchItem(asked, STYLE, quiet, on_preview=shown.append)])
    assert not isinstance(watched, Exception), watched
    assert [sketch.step for sketch in shown] == list(range(1, steps + 1))
    alone = engine.stylize(asked, STYLE, watch=quiet)
    assert [one.tobytes() for one in watched.pictures] == [one.tobytes() for one in alone.pictures]
    drawn: list[Image.Image] = []
    thread = threading.Thread(target=lambda: drawn.extend(sketch.draw() for sketch in shown))
    thread.start()
    thread.join()
    assert [(one.mode, one.size) for one in drawn] == [("RGB", (16, 8))] * steps
    assert len({one.tobytes() for one in drawn}) == steps, "later steps draw anew"
