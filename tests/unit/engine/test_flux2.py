"""FLUX.2 [klein] as a backbone: what diffusers' own pipeline computes, from fewer layers of the text encoder."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import Flux2KleinPipeline
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from torch import Tensor

from workers.engine.backbones import latent_preview
from workers.engine.backbones.flux2 import TEXT_LAYERS, Flux2, Flux2KV
from workers.engine.backbones.load import load
from workers.engine.denoise import Trajectory, denoise

SIZE: dict[str, int] = {"width": 64, "height": 48}


@pytest.fixture(scope="module")
def reference(tiny_root: Path) -> Any:
    pipe = Flux2KleinPipeline.from_pretrained(tiny_root / "flux2-klein", local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def drawn(backbone: Flux2, noise: Tensor, guidance: float) -> Trajectory:
    positive, negative = backbone.condition(["a tower", "the sea"], None, guided=guidance > 1, **SIZE)
    scheduler = backbone.build_scheduler("euler", 3, **SIZE)
    trajectory = Trajectory(backbone.initial_latents(noise, scheduler), scheduler, positive, negative, guidance)
    denoise(backbone.predict, [trajectory])
    return trajectory


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_a_picture_is_that_of_the_pipeline_of_diffusers(flux2: Flux2, reference: Any, guidance: float) -> None:
    noise = torch.randn(2, *flux2.latent_shape(**SIZE), generator=torch.Generator().manual_seed(0))
    reference.register_to_config(is_distilled=False)
    asked = {"num_inference_steps": 3, "guidance_scale": guidance, "output_type": "latent"}
    expected = reference(prompt=["a tower", "the sea"], latents=noise, **SIZE, **asked).images
    trajectory = drawn(flux2, noise, guidance)
    torch.testing.assert_close(flux2.unscaled(trajectory.latents), expected, rtol=1e-3, atol=1e-4)
    assert trajectory.estimate is not None
    torch.testing.assert_close(trajectory.estimate, trajectory.latents)  # the last step ends at its estimate


def test_the_text_encoder_has_only_the_layers_that_are_read(flux2: Flux2, reference: Any) -> None:
    assert len(flux2.pipe.text_encoder.layers) == max(TEXT_LAYERS) < len(reference.text_encoder.model.layers)
    text, _ = flux2.condition(["a tower"], None, guided=False, **SIZE)
    assert torch.equal(text.text, reference.encode_prompt("a tower")[0])


@pytest.mark.parametrize(("tokens", "steps"), [(4096, 4), (4096, 50), (1024, 4), (4300, 4), (4301, 4), (9216, 28)])
def test_the_shift_is_that_of_diffusers_of_size_and_steps(flux2: Flux2, tokens: int, steps: int) -> None:
    side = {"width": 16 * tokens, "height": 16}
    mu = math.exp(compute_empirical_mu(tokens, steps))
    times = torch.linspace(1, 1 / steps, steps)
    expected = 1000 * mu / (mu + 1 / times - 1)
    torch.testing.assert_close(flux2.build_scheduler("euler", steps, **side).timesteps, expected, rtol=1e-5, atol=0)


def test_latents_are_patches_at_the_unit_scale_of_the_norm(flux2: Flux2) -> None:
    encoded = torch.randn(2, 32, 6, 8)
    latents = flux2.scaled(encoded)
    assert latents.shape == (2, *flux2.latent_shape(**SIZE)) == (2, 128, 3, 4)
    torch.testing.assert_close(flux2.unscaled(latents), encoded)


def test_previews_have_a_pixel_for_each_cell_of_the_vae(flux2: Flux2) -> None:
    frame = latent_preview.frame(flux2, drawn(flux2, torch.randn(2, *flux2.latent_shape(**SIZE)), 1.0), 3)
    picture = frame.draw() if frame is not None else None
    assert picture is not None
    assert picture.size == (SIZE["width"] // 8, SIZE["height"] // 8)


def test_the_end_of_a_long_text_is_said_to_be_unread(flux2: Flux2) -> None:
    assert flux2.unread("a tower") == {}
    [(rest, tokens)] = flux2.unread("x" * 500 + "tower").items()
    assert rest.endswith("tower")
    assert tokens + len(rest) == 505


@pytest.mark.parametrize(
    ("pipeline", "distilled", "kind", "base"),
    [
        ("Flux2KleinPipeline", True, Flux2, "flux2-klein"),
        ("Flux2KleinPipeline", False, Flux2, "flux2-klein-base"),
        ("Flux2KleinKVPipeline", None, Flux2KV, "flux2-klein"),
    ],
)
def test_the_folder_tells_whether_the_model_is_distilled_and_keeps_keys(
    pipeline: str, distilled: bool | None, kind: type[Flux2], base: str, tiny_root: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_root / "flux2-klein", tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_bytes()) | {"_class_name": pipeline}
    del index["is_distilled"]
    (folder / "model_index.json").write_text(
        json.dumps(index if distilled is None else {**index, "is_distilled": distilled})
    )
    loaded = load(folder)
    assert type(loaded) is kind
    assert loaded.base == base
    assert loaded.distilled is (base == "flux2-klein")
    assert loaded.caches_references is (kind is Flux2KV)
    assert {type(processor).__name__ for processor in loaded.denoiser.attn_processors.values()} == {
        "Flux2AttnProcessor", "Flux2ParallelSelfAttnProcessor",
    }  # fmt: skip
