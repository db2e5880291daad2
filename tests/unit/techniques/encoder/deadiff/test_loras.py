"""A LoRA stays on weights that the checkpoint replaces, and is no part of what the checkpoint is compared with."""

from collections.abc import Callable
from pathlib import Path

import torch

from model_store.add.add import add
from tests.support.techniques import lora_files
from workers.contract.spec import Lora
from workers.engine.backbones.load import load
from workers.engine.backbones.loras.stack import apply_loras
from workers.techniques.encoder.deadiff import dims, own_weights
from workers.techniques.encoder.deadiff.checkpoint import DeadiffCheckpoint
from workers.techniques.encoder.deadiff.own_weights import OwnWeights, Tuned
from workers.worker.resources import loras

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"
INK = (Lora(id="ink", scale=0.7),)


def test_what_is_replaced_gets_the_lora_too(tiny_root: Path, tmp_path: Path) -> None:
    backbone = load(tiny_root / "sd15")
    add(lora_files.write("kohya", backbone.pipe, tmp_path / "made"), "ink", tmp_path / "store", base="sd15")
    weight = backbone.denoiser.get_parameter(LAYER)
    plain = weight.detach().clone()
    theirs = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    own = OwnWeights(unet=own_weights.difference(backbone.denoiser, {LAYER: theirs}))
    with own.in_unet(backbone):
        assert torch.equal(weight, theirs)
    with apply_loras(backbone, INK, loras(tmp_path / "store")):
        change = weight.detach() - plain
        assert change.abs().max() > 1e-3
        with own.in_unet(backbone):
            torch.testing.assert_close(weight.detach(), theirs + change, rtol=0, atol=1e-6)
    assert torch.equal(weight, plain)


def test_the_checkpoint_is_compared_with_the_model_as_loaded(
    tiny_root: Path, tmp_path: Path, folder: Path, installed: Callable[[str], Path]
) -> None:
    backbone, other = load(tiny_root / "sd15"), load(tiny_root / "sd15")
    add(lora_files.write("kohya", backbone.pipe, tmp_path / "made"), "ink", tmp_path / "store", base="sd15")
    checkpoint = DeadiffCheckpoint(folder / "deadiff.safetensors", dims.read(folder))
    with apply_loras(backbone, INK, loras(tmp_path / "store")):
        found = own_weights.get_or_load(checkpoint, backbone)
    expected = own_weights.get_or_load(checkpoint, other)
    for one, two in ((found.unet, expected.unet), (found.text, expected.text)):
        assert (one.rounded, one.replaced.keys()) == (two.rounded, two.replaced.keys())
        assert isinstance(one, Tuned)
