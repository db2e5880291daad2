"""Noise, pictures, backbones and the pool of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from workers.engine.backbones.load import load
from workers.engine.backbones.pool import BackboneCache
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.errors import ModelUnusable
from workers.engine.images import cover, digest, from_signed, to_signed
from workers.engine.noise import INITIAL, RecordedNoise, SeededNoise


def test_the_initial_noise_is_torchs_own() -> None:
    ours = SeededNoise([7, 8]).normal(INITIAL, (4, 2, 2))
    assert torch.equal(ours[1], torch.randn(4, 2, 2, generator=torch.Generator().manual_seed(8)))


def test_draws_have_their_own_streams_and_the_callers_randomness_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    noise = SeededNoise([1, 2])
    leak = noise.normal("leak", (3,))
    noise.normal(INITIAL, (3,))
    assert torch.equal(noise.normal("leak", (3,)), leak)
    assert torch.equal(SeededNoise([2]).normal("leak", (3,))[0], leak[1])
    assert not torch.equal(noise.normal(INITIAL, (3,)), leak)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_multivariate_draws_have_the_covariance_also_a_singular_one() -> None:
    root = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    drawn = SeededNoise(range(4000)).multivariate("low", torch.tensor([5.0, -1.0]), root @ root.T)
    torch.testing.assert_close(drawn.mean(0), torch.tensor([5.0, -1.0]), rtol=0, atol=0.1)
    torch.testing.assert_close(drawn.T.cov(), root @ root.T, rtol=0.1, atol=0.05)


def test_recorded_draws_must_fit() -> None:
    noise = RecordedNoise({"a": torch.zeros(1, 3)})
    with pytest.raises(ValueError, match="rows of"):
        noise.normal("a", (4,))
    with pytest.raises(KeyError):
        noise.normal("b", (3,))


def test_pictures_survive_the_way_to_tensors_and_back() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    [back] = from_signed(to_signed(Image.fromarray(pixels)))
    assert np.array_equal(back, pixels)


@pytest.mark.parametrize(
    ("size", "target"), [((110, 64), (64, 64)), ((64, 110), (64, 64)), ((64, 64), (128, 64)), ((30, 90), (64, 128))]
)
def test_a_cover_has_the_size(size: tuple[int, int], target: tuple[int, int]) -> None:
    assert cover(Image.new("RGB", size), *target).size == target


def test_a_cover_takes_the_middle() -> None:
    picture = Image.new("RGB", (192, 64))
    picture.paste((255, 0, 0), (64, 0, 128, 64))
    assert cover(picture, 64, 64).getcolors() == [(64 * 64, (255, 0, 0))]


def test_a_digest_is_of_what_is_seen() -> None:
    red = Image.new("RGB", (2, 8), (255, 0, 0))
    assert digest(red) == digest(red.convert("RGBA"))
    assert digest(red) != digest(red.resize((8, 2)))


def test_the_vae_is_exact_and_decoding_gives_pictures(backbone: StableDiffusion) -> None:
    signed = torch.rand(1, 3, 64, 64) * 2 - 1
    latents = backbone.encode(signed)
    assert torch.equal(latents, backbone.encode(signed))
    assert latents.shape == (1, *backbone.latent_shape(64, 64))
    assert backbone.vae.dtype == torch.float32
    assert [pixels.shape for pixels in from_signed(backbone.decode(latents))] == [(64, 64, 3)]


def test_prompts_are_encoded_as_the_pipeline_does(backbone: StableDiffusion) -> None:
    positive, negative = backbone.condition(["a", "b", "a"], None, guided=True, width=64, height=128)
    assert positive.rows == 3
    assert torch.equal(positive.text[0], positive.text[2])
    assert negative is not None
    if backbone.base == "sdxl":
        assert negative.text.abs().max() == 0
        assert positive.added["time_ids"][2].tolist() == [128, 64, 0, 0, 128, 64]
    assert backbone.condition(["a"], "x", guided=False, width=64, height=64)[1] is None


def test_residents_are_built_once(sd15: StableDiffusion) -> None:
    assert sd15.get_or_load("adapter", object) is sd15.get_or_load("adapter", object)


@pytest.mark.parametrize(
    "content", [None, "{}", "not json", '{"_class_name": "FluxPipeline"}', '{"_class_name": "StableDiffusionPipeline"}']
)
def test_a_folder_that_holds_no_model_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "model_index.json").write_text(content)
    with pytest.raises(ModelUnusable):
        load(tmp_path)


def test_the_pool_keeps_what_was_used_last(sd15: StableDiffusion) -> None:
    loads: list[str] = []

    def fetch(model: str) -> StableDiffusion:
        loads.append(model)
        return sd15

    pool = BackboneCache(fetch, capacity=2)
    for model in ("a", "b", "a", "c", "a", "b"):
        pool.get(model)
    assert loads == ["a", "b", "c", "b"]
    assert pool.warm() == ("a", "b")
