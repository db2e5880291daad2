"""A base model and what goes beside it, from files: exactly what diffusers reads, or refused by file and key."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from workers.engine.backbones import controlnet
from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.errors import ModelUnusable

PIPELINES: dict[str, Any] = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
UNET = "unet/diffusion_pytorch_model.safetensors"
Change = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("base", ["sd15", "sdxl"])
def test_weights_and_settings_are_those_that_diffusers_reads(base: str, dtype: torch.dtype, tiny_root: Path) -> None:
    ours = load(tiny_root / base, dtype=dtype)
    theirs = PIPELINES[base].from_pretrained(tiny_root / base, dtype=dtype, local_files_only=True)
    for name in ("unet", "text_encoder", "text_encoder_2"):
        if (part := getattr(theirs, name, None)) is not None:
            own = getattr(ours.pipe, name).state_dict()
            assert own.keys() == part.state_dict().keys()
            assert all(torch.equal(own[key], tensor) for key, tensor in part.state_dict().items())
            assert all(own[key].dtype == tensor.dtype for key, tensor in part.state_dict().items())
    assert {tensor.dtype for tensor in ours.vae.state_dict().values()} == {torch.float32}
    assert dict(ours.pipe.scheduler.config) == dict(theirs.scheduler.config)
    assert ours.pipe.config.get("force_zeros_for_empty_prompt") == theirs.config.get("force_zeros_for_empty_prompt")
    assert ours.folder == tiny_root / base


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda good: {k: v for k, v in good.items() if k != "conv_in.bias"}, r"conv_in\.bias: missing"),
        (lambda good: {**good, "conv_in.extra": torch.zeros(1)}, r"conv_in\.extra: the model has no such tensor"),
        (lambda good: {**good, "conv_in.bias": torch.zeros(3)}, r"conv_in\.bias: has shape \[3\], the model needs"),
    ],
)
def test_a_wrong_or_missing_key_is_named_with_its_file(
    change: Change, words: str, tiny_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_root / "sd15", tmp_path / "copy")
    save_file(change(load_file(tmp_path / "copy" / UNET)), tmp_path / "copy" / UNET)
    with pytest.raises(ModelUnusable, match=rf"diffusion_pytorch_model\.safetensors: {words}"):
        load(tmp_path / "copy")


def test_pickled_weights_are_not_read(tiny_root: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_root / "sd15", tmp_path / "copy")
    good = load_file(tmp_path / "copy" / UNET)
    (tmp_path / "copy" / UNET).unlink()
    torch.save(good, tmp_path / "copy" / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(
        ModelUnusable, match=r"holds no safetensors .*; run: stylize models convert .*model\.bin .*model\.safetensors"
    ):
        load(tmp_path / "copy")


def test_a_controlnet_with_a_gap_is_named(sd15: StableDiffusion, tmp_path: Path) -> None:
    net: Any = ControlNetModel.from_unet(sd15.denoiser, conditioning_embedding_out_channels=(16, 16, 16, 16))
    net.save_pretrained(tmp_path)
    loaded = controlnet.load(tmp_path, sd15)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in net.state_dict().items())
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor for name, tensor in load_file(file).items() if name != "conv_in.weight"}, file)
    with pytest.raises(ModelUnusable, match=r"diffusion_pytorch_model\.safetensors: conv_in\.weight: missing"):
        controlnet.load(tmp_path, sd15)
