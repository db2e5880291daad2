"""Towers, adapter and UNet that do not belong together are refused on their configurations."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import CLIPTextConfig, CLIPVisionConfig

from tests.support.techniques.encoder_samples import adapter_of, bench_on
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.errors import ModelUnusable, Refused
from workers.techniques.encoder import adapter, adapter_file, compatibility, content
from workers.techniques.encoder.adapter_file import AdapterFile
from workers.techniques.encoder.weights import VIT_BIGG, VIT_H, AdapterFiles, PublishedAdapter, adapter_files


def vision(width: int, layers: int, heads: int, projection: int, **more: str) -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, projection_dim=projection, **more
    )


def text(width: int, layers: int, heads: int, projection: int, **more: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, projection_dim=projection, **more
    )


H_IMAGE, H_TEXT = vision(1280, 32, 16, 1024), text(1024, 24, 16, 1024)
G_IMAGE, G_TEXT = vision(1664, 48, 16, 1280), text(1280, 32, 20, 1280)
L_TEXT = text(768, 12, 12, 768)


def an_adapter(features: int, *, plus: bool = False, tokens: int = 4) -> AdapterFile:
    if plus:
        projection = {
            "latents": torch.zeros(1, 16, 64),
            "proj_in.weight": torch.zeros(64, features),
            "proj_out.weight": torch.zeros(64, 64),
            "norm_out.weight": torch.zeros(64),
            "layers.0.0.to_q.weight": torch.zeros(64, 64),
        }
    else:
        projection = {
            "proj.weight": torch.zeros(tokens * 8, features),
            "proj.bias": torch.zeros(tokens * 8),
            "norm.weight": torch.zeros(8),
            "norm.bias": torch.zeros(8),
        }
    return AdapterFile(Path("some.safetensors"), projection, {})


def test_towers_of_public_models_are_known_by_their_numbers() -> None:
    assert compatibility.clip_model(H_IMAGE) == compatibility.clip_model(H_TEXT) == VIT_H
    assert compatibility.clip_model(G_IMAGE) == compatibility.clip_model(G_TEXT) == VIT_BIGG
    assert compatibility.clip_model(vision(32, 3, 4, 32)) is None


def test_a_declaration_outweighs_the_numbers() -> None:
    assert compatibility.clip_model(vision(32, 3, 4, 32, clip_model="ours")) == "ours"


def test_a_declaration_survives_the_file(tmp_path: Path) -> None:
    vision(32, 3, 4, 32, clip_model="ours").save_pretrained(tmp_path)
    assert compatibility.clip_model(CLIPVisionConfig.from_pretrained(tmp_path)) == "ours"


@pytest.mark.parametrize(("image", "words"), [(H_IMAGE, H_TEXT), (G_IMAGE, G_TEXT)])
def test_towers_of_one_model_may_be_subtracted(image: CLIPVisionConfig, words: CLIPTextConfig) -> None:
    compatibility.check_text_encoder(image, words)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (H_IMAGE, G_TEXT),
        (G_IMAGE, H_TEXT),
        (H_IMAGE, L_TEXT),
        (H_IMAGE, text(1024, 30, 16, 1024)),
        (vision(32, 3, 4, 32, clip_model="one"), text(32, 3, 4, 32, clip_model="another")),
        (vision(32, 3, 4, 32), text(32, 3, 4, 32, clip_model="another")),
        (vision(32, 3, 4, 32), text(32, 3, 4, 48)),
    ],
)
def test_towers_of_different_models_are_refused(image: CLIPVisionConfig, words: CLIPTextConfig) -> None:
    with pytest.raises(Refused, match="encoders of one CLIP model"):
        compatibility.check_text_encoder(image, words)


@pytest.mark.parametrize(
    ("file", "image", "clip"),
    [
        (an_adapter(1024), H_IMAGE, VIT_H),
        (an_adapter(1280), G_IMAGE, VIT_BIGG),
        (an_adapter(1280, plus=True), H_IMAGE, VIT_H),
        (an_adapter(32), vision(32, 3, 4, 32), VIT_H),
        (an_adapter(32), vision(32, 3, 4, 32), None),
    ],
)
def test_an_adapter_and_its_image_tower_fit(file: AdapterFile, image: CLIPVisionConfig, clip: str | None) -> None:
    compatibility.check_image_encoder(file, image, clip=clip)


@pytest.mark.parametrize(
    ("file", "image", "clip", "why"),
    [
        (an_adapter(1024), G_IMAGE, VIT_H, "trained with the image encoder of ViT-H/14"),
        (an_adapter(1280), H_IMAGE, VIT_BIGG, "trained with the image encoder of ViT-bigG/14"),
        (an_adapter(1280, plus=True), G_IMAGE, None, "1280 wide, this image encoder's are 1664"),
        (an_adapter(1280), H_IMAGE, None, "1280 wide, this image encoder's are 1024"),
        (an_adapter(32), vision(32, 3, 4, 32, clip_model="another"), "ours", "trained with the image encoder of ours"),
    ],
)
def test_an_adapter_with_another_image_tower_is_refused(
    file: AdapterFile, image: CLIPVisionConfig, clip: str | None, why: str
) -> None:
    with pytest.raises(ModelUnusable, match=why):
        compatibility.check_image_encoder(file, image, clip=clip)


def test_an_adapter_of_another_base_is_refused(sd15: StableDiffusion, sdxl: StableDiffusion) -> None:
    compatibility.check_unet(adapter_file.read(adapter_of("ip-adapter-sd15")), sd15.denoiser)
    compatibility.check_unet(adapter_file.read(adapter_of("ip-adapter-sdxl")), sdxl.denoiser)
    with pytest.raises(ModelUnusable, match="32 wide, the base model's attention reads 64"):
        compatibility.check_unet(adapter_file.read(adapter_of("ip-adapter-sd15")), sdxl.denoiser)


def test_an_adapter_that_lacks_a_layer_or_has_one_too_many_is_refused(sd15: StableDiffusion) -> None:
    whole = adapter_file.read(adapter_of("ip-adapter-sd15"))
    less = {name: t for name, t in whole.ip_adapter.items() if name != "31.to_v_ip.weight"}
    more = {**whole.ip_adapter, "0.to_q_lora.down.weight": torch.zeros(1, 1)}
    for layers, named in ((less, "31.to_v_ip"), (more, "0.to_q_lora")):
        with pytest.raises(ModelUnusable, match=named):
            compatibility.check_unet(dataclasses.replace(whole, ip_adapter=layers), sd15.denoiser)


def test_projections_that_diffusers_would_misread_are_refused(sd15: StableDiffusion) -> None:
    base = adapter_file.read(adapter_of("ip-adapter-sd15"))
    eight = {**base.image_proj, "proj.weight": torch.zeros(8 * 32, 32)}
    plus = adapter_file.read(adapter_of("ip-adapter-plus-sd15"))
    deep = {**plus.image_proj, "layers.4.0.to_q.weight": torch.zeros(128, 32)}
    odd = {**plus.image_proj, "layers.0.0.to_q.weight": torch.zeros(100, 32)}
    for file, tensors, why in ((base, eight, "4 tokens"), (plus, deep, "5 resampler"), (plus, odd, "heads")):
        with pytest.raises(ModelUnusable, match=why):
            compatibility.check_unet(dataclasses.replace(file, image_proj=tensors), sd15.denoiser)


def test_a_wrong_pair_is_found_before_the_encoder_is_loaded(
    sd15: StableDiffusion, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vision(64, 2, 4, 48).save_pretrained(tmp_path)
    published = PublishedAdapter("ip-adapter-sd15", "clip-vit-h", VIT_H, None)
    with pytest.raises(ModelUnusable, match="48"):
        adapter.get_or_load(AdapterFiles(adapter_of("ip-adapter-sd15"), tmp_path, published), sd15)


def test_sdxl_subtracts_with_its_own_second_tower_only_for_its_own_encoder(
    sdxl: StableDiffusion, installed: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = bench_on(sdxl, installed)
    found = adapter.get_or_load(adapter_files("base", context), sdxl)
    assert content.text_source(found, context).fingerprint == sdxl.fingerprint
    with pytest.raises(Refused, match="encoders of one CLIP model"):
        content.text_source(dataclasses.replace(found, image_config=H_IMAGE), context)
