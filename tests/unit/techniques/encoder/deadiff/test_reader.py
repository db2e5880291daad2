"""From pixels to tokens."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.support.techniques.encoder_samples import picture
from workers.engine.backbones.load import load
from workers.techniques.encoder.deadiff import dims, reader
from workers.techniques.encoder.deadiff.checkpoint import DeadiffCheckpoint
from workers.techniques.encoder.deadiff.reader import Projector, Reader


@pytest.fixture
def found(folder: Path) -> DeadiffCheckpoint:
    return DeadiffCheckpoint(folder / "deadiff.safetensors", dims.read(folder))


@pytest.fixture
def style_reader(found: DeadiffCheckpoint) -> Reader:
    return reader.load("style", found, torch.float32)


def test_the_projector_adds_to_what_it_was_given() -> None:
    torch.manual_seed(0)
    projector = Projector(6, dims.ProjectorDims(hidden=8)).requires_grad_(False)
    x = torch.randn(2, 5, 6)
    z = projector.dense1(torch.nn.functional.layer_norm(x, (6,), eps=1e-12))
    assert torch.allclose(projector(x), x + projector.dense2(z * torch.sigmoid(1.702 * z)), atol=1e-6)


def test_all_of_a_picture_is_squashed_to_a_square(style_reader: Reader) -> None:
    image = picture(3, (100, 40))
    pixels = style_reader.pixels(image)
    squashed = np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    expected = torch.from_numpy((squashed - np.float32(mean)) / np.float32(std)).permute(2, 0, 1)[None]
    assert torch.allclose(pixels, expected, atol=1e-5)
    assert torch.equal(style_reader.pixels(image.convert("RGBA")), pixels)


def test_the_tower_is_split_as_it_was_joined(style_reader: Reader, found: DeadiffCheckpoint) -> None:
    stored = "style_blip.vision.encoder.layers.2.self_attn.in_proj_bias"
    joined: Tensor = found.tensors({stored: "b"}, {"b": (96,)}, torch.float32)["b"]
    attention = style_reader.blip.vision.encoder.layers[2].self_attn
    assert torch.equal(torch.cat([attention.q_proj.bias, attention.k_proj.bias, attention.v_proj.bias]), joined)


def test_what_a_reader_sees_depends_on_its_word(style_reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    told = style_reader.tokens(picture())
    assert told.shape == (16, 32)
    assert torch.equal(style_reader.tokens(picture()), told)
    monkeypatch.setattr(style_reader, "word", dims.Words().content)
    assert not torch.allclose(style_reader.tokens(picture()), told, atol=1e-3)


@pytest.mark.parametrize("equal", [True, False])
def test_equal_towers_are_one_and_different_ones_are_two(
    tiny_root: Path, folder: Path, tmp_path: Path, equal: bool
) -> None:
    tensors = load_file(folder / "deadiff.safetensors")
    if equal:
        tower = {name for name in tensors if name.startswith("content_blip.vision.")}
        tensors |= {name: tensors[name.replace("content", "style")] for name in tower}
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, tmp_path / "deadiff.safetensors")
    checkpoint, backbone = (
        DeadiffCheckpoint(tmp_path / "deadiff.safetensors", dims.read(folder)),
        load(tiny_root / "sd15"),
    )
    one, other = (reader.get_or_load(side, checkpoint, backbone) for side in ("style", "content"))
    assert (one.blip.vision is other.blip.vision) == equal
    assert one.blip.qformer is not other.blip.qformer


def test_a_digest_tells_towers_apart(found: DeadiffCheckpoint) -> None:
    one, same, other = (reader.load(side, found, torch.bfloat16).blip.vision for side in ("style", "style", "content"))
    assert reader.digest(one) == reader.digest(same)
    assert reader.digest(one) != reader.digest(other)
