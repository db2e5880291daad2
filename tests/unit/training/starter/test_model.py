import numpy as np
import pytest
import torch

from workers.training.starter.networks.adapter import attach, new_adapter, read_adapter, set_scale
from workers.training.starter.networks.autoencoder import build_autoencoder
from workers.training.starter.networks.image_encoder import build_image_encoder
from workers.training.starter.networks.patch_code import (
    SCALING_FACTOR,
    as_tensor,
    encode_all,
    fit_patch_code,
    load_patch_code,
    save_patch_code,
)
from workers.training.starter.networks.unet import build_scheduler, build_unet
from workers.training.starter.recipe import RECIPES, Stage
from workers.training.starter.stages.unet import noised
from workers.training.starter.workspace import learning_rate
from workers.training.starter.world.picture import PictureSpec, draw

NARROW = (16, 16, 32, 32)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    names, styles = ("house", "star", "fish", "cup"), ("flat", "oil", "neon", "chalk")
    return np.stack([draw(PictureSpec(n, i, s, 7 * i)) for i, n in enumerate(names) for s in styles])


def test_latents_have_unit_size_and_the_autoencoder_computes_the_same(images) -> None:
    code = fit_patch_code(images)
    latents = encode_all(code, images, batch=5)
    assert latents.shape == (16, 8, 16, 16)
    assert latents.square().mean().sqrt() == pytest.approx(1.0, abs=0.02)
    with torch.no_grad():
        posterior = build_autoencoder(code).encode(as_tensor(images)).latent_dist
    assert posterior.std.max() < 1e-4
    assert (posterior.mode() * SCALING_FACTOR - latents).square().mean().sqrt() < 0.03


def test_the_decoder_starts_from_the_colours_of_the_patches(images) -> None:
    code = fit_patch_code(images)
    with torch.no_grad():
        decoded = build_autoencoder(code).decode(encode_all(code, images) / SCALING_FACTOR).sample
    assert decoded.shape == (16, 3, 128, 128)
    means = [torch.nn.functional.avg_pool2d(x, 32).flatten() for x in (decoded, as_tensor(images))]
    assert torch.corrcoef(torch.stack(means))[0, 1] > 0.7


def test_the_code_survives_its_file(images, tmp_path) -> None:
    code = fit_patch_code(images)
    save_patch_code(code, tmp_path / "code.safetensors")
    assert torch.equal(load_patch_code(tmp_path / "code.safetensors").projection, code.projection)


def test_the_unet_has_the_names_of_stable_diffusion() -> None:
    unet = build_unet(NARROW)
    names = {name for name, _ in unet.named_modules()}
    for level in (1, 2, 3):
        for layer in range(3):
            assert f"up_blocks.{level}.attentions.{layer}.transformer_blocks.0.attn1" in names
    assert "mid_block.attentions.0.transformer_blocks.0.attn2" in names
    assert len(unet.attn_processors) == 32


def test_the_adapter_has_the_published_layout_and_scale_zero_changes_nothing() -> None:
    torch.manual_seed(0)
    unet = build_unet(NARROW)
    noise, text = torch.randn(1, 8, 16, 16), torch.randn(1, 77, 128)
    condition = {"image_embeds": [torch.randn(1, 1, 128)]}
    with torch.no_grad():
        plain = unet(noise, 500, encoder_hidden_states=text).sample
        checkpoint = new_adapter(unet, torch.Generator().manual_seed(1))
        trained = attach(unet, checkpoint)
        styled = unet(noise, 500, encoder_hidden_states=text, added_cond_kwargs=condition).sample
        set_scale(unet, 0.0)
        off = unet(noise, 500, encoder_hidden_states=text, added_cond_kwargs=condition).sample
    assert sorted(checkpoint["ip_adapter"])[0] == "1.to_k_ip.weight"
    assert len(checkpoint["ip_adapter"]) == 2 * 16
    assert {id(p) for p in trained} == {id(p) for p in unet.parameters() if p.requires_grad}
    assert not torch.allclose(plain, styled)
    assert torch.equal(plain, off)
    again = read_adapter(unet)
    assert all(torch.equal(again[part][name], t) for part in checkpoint for name, t in checkpoint[part].items())


def test_image_embeddings_share_the_text_space() -> None:
    embeds = build_image_encoder()(pixel_values=torch.zeros(2, 3, 128, 128)).image_embeds
    assert embeds.shape == (2, 128)


def test_noise_comes_from_the_generator_alone() -> None:
    alphas, latents = build_scheduler().alphas_cumprod, torch.zeros(8, 8, 4, 4)
    first = noised(latents, alphas, torch.Generator().manual_seed(3))
    second = noised(latents, alphas, torch.Generator().manual_seed(3))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert first[3].max() <= 4.0


def test_the_learning_rate_warms_up_holds_and_falls_to_zero() -> None:
    stage = Stage(steps=100, batch=1, learning_rate=1.0, warmup=10)
    rates = [learning_rate(stage, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[50] == 1.0
    assert rates[99] == pytest.approx(0.04)
    assert learning_rate(stage, 99, decay=0) == 1.0


def test_both_recipes_fit_the_world() -> None:
    small, full = RECIPES["cpu"], RECIPES["gpu"]
    assert len(small.objects) >= 12
    assert len(small.styles) >= 8
    assert len(full.objects) >= 24
    assert len(full.styles) >= 14
