from pathlib import Path

import numpy as np

import model_store
from workers.training.starter.export import LARGEST_BYTES, wrong_files
from workers.training.starter.judges import load_judges
from workers.training.starter.networks.patch_code import as_tensor
from workers.training.starter.world.picture import PictureSpec, draw

WEIGHTS = Path(model_store.__file__).parent / "starter" / "weights"


def test_shipped_files_match_their_digests_and_the_limit() -> None:
    assert wrong_files(WEIGHTS) == []
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) <= LARGEST_BYTES


def test_the_shipped_judges_name_real_pictures() -> None:
    judges = load_judges(WEIGHTS / "judges.safetensors")
    specs = [PictureSpec(name, 11, "flat", 1_000_001) for name in ("house", "star", "fish", "cup", "heart", "tree")]
    pictures = as_tensor(np.stack([draw(spec) for spec in specs]))
    assert judges.classify(pictures) == [spec.object_name for spec in specs]


def test_the_shipped_model_loads_as_stable_diffusion() -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(WEIGHTS, safety_checker=None, local_files_only=True)
    assert pipeline.unet.config.in_channels == pipeline.vae.config.latent_channels
    assert pipeline.text_encoder.config.hidden_size == pipeline.unet.config.cross_attention_dim
