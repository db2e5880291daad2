"""Style noise: refuses without a trained style; trains one; samples with it; restores the weights exactly."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.denoise import denoise
from workers.engine.errors import Refused
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, PrepareContext, text_to_image
from workers.techniques.prior_noise.style_noise import math, style
from workers.techniques.prior_noise.style_noise.spec import StyleNoiseParams
from workers.techniques.prior_noise.style_noise.technique import StyleNoise
from workers.training.style_noise import __main__


def inputs(style: str | None = "mine", strength: float = 1.0, **more: object) -> GenerationInputs:
    fields = {
        "prompts": ("a dog",),
        "seeds": (3,),
        "width": 64,
        "height": 64,
        "steps": 3,
        "guidance_scale": 3.0,
        "params": StyleNoiseParams(style=style),
        "noise": SeededNoise((3,)),
        "strength": strength,
    }
    return GenerationInputs(**fields | more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style trained for a few steps by the command itself."""
    pictures, out = tmp_path_factory.mktemp("pictures"), tmp_path_factory.mktemp("styles") / "mine"
    for n in range(4):
        pixels = np.random.default_rng(n).integers(0, 256, (64, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{n}.png")
        (pictures / f"{n}.txt").write_text(f"picture {n}")
    sizes = ["--steps", "3", "--batch", "2", "--rank", "2", "--size", "64", "--learning-rate", "0.01"]
    words = ["--model", str(tiny_root / "sd15"), "--images", str(pictures), "--out", str(out), *sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["train", *words])
        assert __main__.main() == 0
    return out


def there(context: PrepareContext, trained: Path) -> PrepareContext:
    return replace(context, weights=lambda name: trained.parent / name)


def run(asked: GenerationInputs, context: PrepareContext) -> torch.Tensor:
    technique = StyleNoise()
    trajectory = technique.prepare(asked, context)
    with technique.patch(context.backbone, [trajectory]) as hooks:
        denoise(context.backbone.predict, [trajectory], hooks=hooks)
    return trajectory.latents


def test_without_a_style_it_says_how_to_train(context: PrepareContext) -> None:
    with pytest.raises(Refused, match=r"training\.style_noise --model"):
        StyleNoise().prepare(inputs(style=None), context)


def test_a_trained_style_starts_from_its_noise_and_tunes_the_weights(context: PrepareContext, trained: Path) -> None:
    workshop = there(context, trained)
    before = {name: weight.clone() for name, weight in context.backbone.denoiser.named_parameters()}
    found = style.read(trained, context.backbone)
    started = StyleNoise().prepare(inputs(), workshop)
    e = inputs().noise.normal("initial", (4, 8, 8))
    torch.testing.assert_close(started.latents, math.style_noise(found.mu, found.sig, e))
    assert found.deltas
    assert all(delta.abs().max() > 0 for delta in found.deltas.values())
    with StyleNoise().patch(context.backbone, [started]):
        name = next(iter(found.deltas))
        torch.testing.assert_close(
            dict(context.backbone.denoiser.named_parameters())[name], before[name] + found.deltas[name]
        )
    assert all(torch.equal(weight, before[name]) for name, weight in context.backbone.denoiser.named_parameters())


def test_the_merged_weights_compute_what_the_adapter_computes(
    context: PrepareContext, trained: Path, tiny_root: Path
) -> None:
    other: StableDiffusion = load(tiny_root / "sd15")
    other.pipe.load_lora_weights(trained, weight_name=style.LORA, local_files_only=True)
    x, text = torch.randn(1, 4, 8, 8), torch.randn(1, 77, 32)
    started = StyleNoise().prepare(inputs(), there(context, trained))
    with torch.no_grad(), StyleNoise().patch(context.backbone, [started]):
        ours = context.backbone.denoiser(x, 500, text).sample
        torch.testing.assert_close(ours, other.denoiser(x, 500, text).sample, rtol=1e-4, atol=1e-4)


def test_no_strength_is_plain_text_to_image_exactly(context: PrepareContext, trained: Path) -> None:
    asked = inputs(strength=0.0)
    reference = text_to_image(asked, context)
    denoise(context.backbone.predict, [reference])
    assert torch.equal(run(asked, there(context, trained)), reference.latents)
    assert not torch.equal(run(inputs(strength=0.5), there(context, trained)), reference.latents)


def test_only_the_same_style_and_strength_share_a_batch(context: PrepareContext) -> None:
    key = StyleNoise().batch_key
    assert key(inputs(), context.backbone) == key(inputs(seeds=(9,), steps=7), context.backbone)
    assert key(inputs(), context.backbone) != key(inputs(strength=0.5), context.backbone)
    assert key(inputs(), context.backbone) != key(inputs(style="other"), context.backbone)


def a_style(
    folder: Path, *, base: str = "sd15", tuned: str = "conv_in.weight", shape: tuple[int, ...] = (4, 8, 8)
) -> Path:
    folder.mkdir()
    (folder / "style.json").write_text(json.dumps({"base": base}))
    (folder / "statistic_type.txt").write_text("pixel")
    save_file({"mean_pixels": torch.zeros(shape), "var_pixels": torch.ones(shape)}, folder / "stats.safetensors")
    save_file({tuned: torch.zeros(32, 4, 3, 3)}, folder / style.TUNED)
    return folder


def test_fully_tuned_weights_replace_those_they_name(context: PrepareContext, tmp_path: Path) -> None:
    workshop = replace(context, weights=lambda name: a_style(tmp_path / "full"))
    started = StyleNoise().prepare(inputs(), workshop)
    with StyleNoise().patch(context.backbone, [started]):
        assert context.backbone.denoiser.conv_in.weight.abs().max() < 1e-6
    assert context.backbone.denoiser.conv_in.weight.abs().max() > 0.01


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"base": "sdxl"}, "was trained on sdxl"),
        ({"tuned": "no.such.weight"}, "no weights tuned for this model"),
        ({"tuned": "conv_out.weight"}, "no weights tuned for this model"),
        ({"shape": (4, 16, 16)}, "measured on latents of"),
    ],
)
def test_a_style_of_another_model_or_size_is_refused(
    context: PrepareContext, tmp_path: Path, facts: dict[str, str], text: str
) -> None:
    folder = a_style(tmp_path / "style", **facts)  # type: ignore[arg-type]
    with pytest.raises(Refused, match=text):
        StyleNoise().prepare(inputs(), replace(context, weights=lambda name: folder))


def test_a_folder_without_weights_is_refused(context: PrepareContext, tmp_path: Path) -> None:
    folder = a_style(tmp_path / "style")
    (folder / style.TUNED).unlink()
    with pytest.raises(Refused, match="no weights tuned"):
        StyleNoise().prepare(inputs(), replace(context, weights=lambda name: folder))
    (folder / "style.json").unlink()
    with pytest.raises(Refused, match="not a trained style"):
        StyleNoise().prepare(inputs(), replace(context, weights=lambda name: folder))


def test_one_picture_is_too_few(tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "only.png")
    words = ["--model", str(tiny_root / "sd15"), "--images", str(tmp_path), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["train", *words, "--size", "64"])
    assert __main__.main() == 1
