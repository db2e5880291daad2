"""Pictures and texts through the towers of a CLIP model."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPTextModelWithProjection, CLIPTokenizer

from tests.support.techniques.encoder_samples import WEIGHTS, picture
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.errors import ModelUnusable
from workers.techniques.encoder import clip
from workers.techniques.encoder.weights import AdapterFiles

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture
def tower(sd15: StableDiffusion, tiny_root: Path) -> clip.ClipImageEncoder:
    return clip.get_image_encoder(AdapterFiles(tiny_root, tiny_root / "clip-vision", None), sd15)


def test_the_shorter_side_is_scaled_and_the_middle_cut_out(tower: clip.ClipImageEncoder) -> None:
    wide = picture(1, (83, 56))
    scaled = wide.resize((int(32 * 83 / 56), 32), Image.Resampling.BICUBIC)
    left = (scaled.width - 32) // 2
    pixels = torch.tensor(list(scaled.crop((left, 0, left + 32, 32)).tobytes())).view(32, 32, 3) / 255
    expected = ((pixels - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1)
    assert torch.allclose(tower.pixels([wide])[0], expected, atol=1e-5)


def test_squashing_keeps_the_whole_picture(tower: clip.ClipImageEncoder) -> None:
    wide = picture(1, (83, 56))
    squashed = wide.resize((32, 32), Image.Resampling.BICUBIC)
    assert torch.equal(tower.pixels([wide], "squash"), tower.pixels([squashed], "crop"))


def test_zero_pixels_are_not_a_black_picture(tower: clip.ClipImageEncoder) -> None:
    black = tower.features(tower.pixels([Image.new("RGB", (40, 40))]), "plus")
    assert black.shape == tower.zero_pixels().shape == (1, 17, 32)
    assert not torch.allclose(black, tower.zero_pixels(), atol=1e-2)


def test_a_text_is_read_as_the_model_itself_reads_it(sd15: StableDiffusion) -> None:
    folder = WEIGHTS / "clip-text"
    model = CLIPTextModelWithProjection.from_pretrained(folder).eval()
    tokens = CLIPTokenizer.from_pretrained(folder)(["a rabbit"], return_tensors="pt")
    with torch.no_grad():
        expected = model(**tokens).text_embeds
    ours = clip.get_text_encoder(folder, clip.text_config(folder), folder, sd15)
    assert torch.allclose(ours.embedding("a rabbit"), expected, atol=1e-5)
    assert ours.embedding("a rabbit " * 100).shape == (1, 32)


def test_a_whole_clip_model_gives_its_text_tower(sd15: StableDiffusion, tmp_path: Path) -> None:
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = small | {"vocab_size": 514, "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    vision = small | {"image_size": 8, "patch_size": 4}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(tmp_path)
    assert clip.text_config(tmp_path).projection_dim == 24
    tower = clip.get_text_encoder(tmp_path, clip.text_config(tmp_path), WEIGHTS / "clip-text", sd15)
    assert tower.embedding("a rabbit").shape == (1, 24)


def test_a_folder_without_a_tower_is_named(sd15: StableDiffusion, tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match="no text encoder"):
        clip.text_config(tmp_path)
    with pytest.raises(ModelUnusable, match="cannot be loaded"):
        clip.get_image_encoder(AdapterFiles(tmp_path, tmp_path, None), sd15)
