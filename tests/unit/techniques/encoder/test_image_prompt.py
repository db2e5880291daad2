"""What the style images become, against diffusers' own pipeline and against each other."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image
from torch import Tensor
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

from tests.support.techniques.encoder_samples import (
    PUBLISHED,
    WEIGHTS,
    adapter_of,
    bench_on,
    inputs,
    latents,
    nothing_installed,
    picture,
)
from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.errors import Refused, WeightsMissing
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs
from workers.techniques.encoder import clip
from workers.techniques.encoder.instantstyle.spec import InstantStyleParams
from workers.techniques.encoder.instantstyle.technique import InstantStyle
from workers.techniques.encoder.ip_adapter.spec import IPAdapterParams
from workers.techniques.encoder.ip_adapter.technique import IPAdapter
from workers.techniques.encoder.weights import adapter_files

Installed = Callable[[str], Path]
IP, STYLE = IPAdapter(), InstantStyle()
BASE, PLUS = IPAdapterParams(), IPAdapterParams(adapter="plus")


def theirs(pipe: Any, adapter: Path, scale: Any, embeds: Tensor, asked: GenerationInputs) -> Tensor:
    """Return the latents of diffusers' own pipeline with its own adapter loader."""
    pipe.set_progress_bar_config(disable=True)
    pipe.load_ip_adapter(adapter.parent.as_posix(), subfolder="", weight_name=adapter.name, image_encoder_folder=None)
    pipe.set_ip_adapter_scale(scale)
    found: Tensor = pipe(
        prompt=asked.prompts[0],
        negative_prompt=asked.negative_prompt,
        width=asked.width,
        height=asked.height,
        num_inference_steps=asked.steps,
        guidance_scale=asked.guidance_scale,
        latents=SeededNoise(asked.seeds).normal("initial", (4, asked.height // 8, asked.width // 8)),
        ip_adapter_image_embeds=[embeds],
        output_type="latent",
    ).images
    return found


def seen(folder: Path, images: list[Image.Image]) -> tuple[Any, Tensor]:
    """Return the tiny image encoder and the pixels it is given."""
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(images=images, return_tensors="pt").pixel_values
    return CLIPVisionModelWithProjection.from_pretrained(folder).eval(), pixels


@torch.no_grad()
def test_plus_on_sdxl_with_two_images_is_what_diffusers_pipeline_does(
    sdxl: StableDiffusion, tiny_root: Path, installed: Installed
) -> None:
    pipe = StableDiffusionXLPipeline.from_pretrained(tiny_root / "sdxl", add_watermarker=False)
    images = [picture(1), picture(2, (40, 90))]
    encoder, pixels = seen(tiny_root / "clip-vision", images)
    both = [encoder(x, output_hidden_states=True).hidden_states[-2] for x in (torch.zeros_like(pixels), pixels)]
    params = InstantStyleParams(adapter="plus", mode="style+layout", scale=0.7)
    asked = inputs(params, *images, width=128, height=128, negative_prompt="blurry")
    blocks = {"down": {"block_2": [0.0, 0.7]}, "up": {"block_0": [0.0, 0.7, 0.0]}}
    expected = theirs(pipe, PUBLISHED["ip-adapter-plus-sdxl-vit-h"], blocks, torch.stack(both), asked)
    [ours] = latents(STYLE, bench_on(sdxl, installed), asked)
    assert torch.allclose(ours, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_mean_less_its_content_on_sd15_is_what_diffusers_pipeline_does(
    sd15: StableDiffusion, tiny_root: Path, installed: Installed
) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(tiny_root / "sd15", safety_checker=None)
    images = [picture(1), picture(2, (40, 90))]
    encoder, pixels = seen(tiny_root / "clip-vision", images)
    text = CLIPTextModelWithProjection.from_pretrained(WEIGHTS / "clip-text").eval()
    t = text(**CLIPTokenizer.from_pretrained(WEIGHTS / "clip-text")(["a rabbit"], return_tensors="pt")).text_embeds
    e = encoder(pixels).image_embeds.mean(0, keepdim=True) - 0.8 * t
    params = InstantStyleParams(
        mode="style+layout", scale=1.2, combine="mean", neg_content_prompt="a rabbit", neg_content_scale=0.8
    )
    asked = inputs(params, *images, negative_prompt="blurry")
    blocks = {"down": {"block_2": [1.2, 1.2]}, "mid": 1.2, "up": {"block_1": [1.2, 1.2, 1.2]}}
    expected = theirs(pipe, PUBLISHED["ip-adapter-sd15"], blocks, torch.stack([torch.zeros_like(e), e]), asked)
    [ours] = latents(STYLE, bench_on(sd15, installed), asked)
    assert torch.allclose(ours, expected, atol=1e-4, rtol=1e-4)


def test_in_bfloat16_the_style_is_the_same_up_to_its_rounding(
    sd15: StableDiffusion, tiny_root: Path, installed: Installed
) -> None:
    context = bench_on(load(tiny_root / "sd15", dtype=torch.bfloat16), installed)
    [rounded], [exact] = latents(IP, context, inputs(BASE)), latents(IP, bench_on(sd15, installed), inputs(BASE))
    assert rounded.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(rounded.float().flatten(), exact.flatten(), dim=0) > 0.99


def test_without_guidance_there_is_no_unconditional_half(sd15: StableDiffusion, installed: Installed) -> None:
    [guided] = latents(IP, bench_on(sd15, installed), inputs(BASE, guidance_scale=1.001))
    [alone] = latents(IP, bench_on(sd15, installed), inputs(BASE, guidance_scale=1.0))
    assert torch.allclose(guided, alone, atol=0.05)


@pytest.mark.parametrize("params", [BASE, PLUS, IPAdapterParams(combine="mean")])
def test_the_same_picture_twice_is_the_picture(
    sd15: StableDiffusion, installed: Installed, params: IPAdapterParams
) -> None:
    context = bench_on(sd15, installed)
    [once], [twice] = latents(IP, context, inputs(params)), latents(IP, context, inputs(params, picture(), picture()))
    assert torch.allclose(once, twice, atol=1e-4)


@pytest.mark.parametrize("params", [BASE, PLUS, IPAdapterParams(combine="mean")])
def test_a_picture_of_weight_zero_is_left_out(
    sd15: StableDiffusion, installed: Installed, params: IPAdapterParams
) -> None:
    context = bench_on(sd15, installed)
    [alone] = latents(IP, context, inputs(params))
    weighted = inputs(params, picture(), picture(1), style_weights=(2.0, 0.0))
    assert torch.equal(latents(IP, context, weighted)[0], alone)


@pytest.mark.parametrize("combine", ["concat", "mean"])
def test_weights_decide_between_pictures(sd15: StableDiffusion, installed: Installed, combine: Any) -> None:
    context, params = bench_on(sd15, installed), IPAdapterParams(combine=combine)

    def weighted(*weights: float) -> Tensor:
        return latents(IP, context, inputs(params, picture(), picture(1), style_weights=weights))[0]

    assert torch.allclose(weighted(), weighted(1.0, 1.0), atol=1e-5)
    assert torch.allclose(weighted(3.0, 1.0), weighted(0.75, 0.25), atol=1e-5)
    assert not torch.allclose(weighted(3.0, 1.0), weighted(1.0, 3.0), atol=1e-2)


def test_squash_shows_what_cropping_cuts_off(sd15: StableDiffusion, installed: Installed) -> None:
    wide = picture(4, (120, 40))
    cut = wide.crop((40, 0, 80, 40))
    context = bench_on(sd15, installed)

    def shown(image: Any, fit: Any) -> Tensor:
        return latents(IP, context, inputs(IPAdapterParams(fit=fit), image))[0]

    assert torch.allclose(shown(wide, "crop"), shown(cut, "crop"), atol=0.1)
    assert not torch.allclose(shown(wide, "squash"), shown(wide, "crop"), atol=0.1)


def test_content_subtraction_changes_the_picture_and_nothing_without_text_or_scale(
    sd15: StableDiffusion, installed: Installed
) -> None:
    context = bench_on(sd15, installed)

    def less(text: str, scale: float) -> Tensor:
        params = InstantStyleParams(mode="all", neg_content_prompt=text, neg_content_scale=scale)
        return latents(STYLE, context, inputs(params))[0]

    plain = less("", 0.5)
    assert torch.equal(less("a rabbit", 0.0), plain)
    assert torch.equal(less("  ", 0.5), plain)
    assert not torch.allclose(less("a rabbit", 0.5), plain, atol=1e-3)
    assert not torch.allclose(less("a rabbit", 1.0), less("a rabbit", 0.5), atol=1e-3)


def test_mode_all_without_subtraction_is_ip_adapter(backbone: StableDiffusion, installed: Installed) -> None:
    context = bench_on(backbone, installed)
    [theirs] = latents(IP, context, inputs(BASE))
    assert torch.equal(latents(STYLE, context, inputs(InstantStyleParams(mode="all")))[0], theirs)


@pytest.mark.parametrize(
    ("params", "why"),
    [
        (InstantStyleParams(adapter="plus", neg_content_prompt="a cat"), "content subtraction is not defined for plus"),
        (InstantStyleParams(adapter="plus", combine="mean"), "combine mean is not defined for plus"),
        (InstantStyleParams(target_blocks=("up_blocks.9",)), "no image attention is in up_blocks.9"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    sd15: StableDiffusion, installed: Installed, params: InstantStyleParams, why: str
) -> None:
    with pytest.raises(Refused, match=why):
        STYLE.prepare(inputs(params, picture(), picture(1)), bench_on(sd15, installed))


def test_a_missing_text_tower_is_named(sd15: StableDiffusion, installed: Installed) -> None:
    def without_text(model: str) -> Path:
        if model == "clip-vit-h-text":
            raise WeightsMissing(model)
        return installed(model)

    with pytest.raises(WeightsMissing, match="stylize models pull clip-vit-h-text"):
        STYLE.prepare(inputs(InstantStyleParams(neg_content_prompt="a cat")), bench_on(sd15, without_text))


@pytest.fixture
def with_adapter(tiny_root: Path, tmp_path: Path) -> Path:
    """A base model that was shipped with its adapter and image encoder."""
    folder = tmp_path / "own"
    shutil.copytree(tiny_root / "sd15", folder)
    shutil.copytree(tiny_root / "clip-vision", folder / "image_encoder")
    (folder / "ip-adapter").mkdir()
    shutil.copyfile(adapter_of("ip-adapter-sd15"), folder / "ip-adapter" / "ip-adapter_own.safetensors")
    return folder


def test_an_adapter_in_the_base_models_folder_is_used(
    with_adapter: Path, sd15: StableDiffusion, installed: Installed
) -> None:
    context = bench_on(load(with_adapter), nothing_installed)
    [expected] = latents(IP, bench_on(sd15, installed), inputs(BASE))
    assert torch.allclose(latents(IP, context, inputs(BASE))[0], expected, atol=1e-3)
    with pytest.raises(WeightsMissing):
        IP.prepare(inputs(PLUS), context)


def test_its_own_text_tower_is_subtracted_with_if_it_has_one(with_adapter: Path) -> None:
    params = InstantStyleParams(mode="all", neg_content_prompt="a cat")
    with pytest.raises(Refused, match="no text encoder"):
        STYLE.prepare(inputs(params), bench_on(load(with_adapter), nothing_installed))
    shutil.copytree(WEIGHTS / "clip-text", with_adapter / "text_projector")
    context = bench_on(load(with_adapter), nothing_installed)
    [changed], [plain] = latents(STYLE, context, inputs(params)), latents(IP, context, inputs(BASE))
    assert not torch.allclose(changed, plain, atol=1e-3)


def test_its_own_way_of_preparing_pictures_is_kept(with_adapter: Path) -> None:
    [clips] = latents(IP, bench_on(load(with_adapter), nothing_installed), inputs(BASE))
    even = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    CLIPImageProcessorPil(size={"shortest_edge": 32}, **even).save_pretrained(with_adapter / "feature_extractor")
    backbone = load(with_adapter)
    [own] = latents(IP, bench_on(backbone, nothing_installed), inputs(BASE))
    assert not torch.allclose(own, clips, atol=1e-3)
    files = adapter_files("base", bench_on(backbone, nothing_installed))
    pixels = clip.get_image_encoder(files, backbone).pixels([picture()])
    assert pixels.shape == (1, 3, 32, 32)
    assert pixels.abs().max() <= 1


def test_an_encoder_is_loaded_once(with_adapter: Path) -> None:
    backbone = load(with_adapter)
    files = adapter_files("base", bench_on(backbone, nothing_installed))
    assert clip.get_image_encoder(files, backbone) is clip.get_image_encoder(files, backbone)
