"""Weights of a transformer in fewer bits: close to the full ones, restored exactly, and named with every picture."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from workers.contract.jobs.models import StylizeRequest
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.load import load
from workers.engine.backbones.pool import BackboneCache
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.engine import DiffusionEngine
from workers.engine.residency import weight_storage
from workers.engine.residency.placement import WeightStorage
from workers.engine.types import GenerationResult, Pictures
from workers.techniques import registry

needs_torchao = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="the package is not installed")
REDUCED = ["float8", *(pytest.param(name, marks=needs_torchao) for name in ("torchao-float8", "torchao-int8"))]
SEED = 3


@pytest.fixture(scope="module")
def kept(tiny_root: Path) -> Callable[[WeightStorage], Backbone]:
    loaded: dict[WeightStorage, Backbone] = {}

    def of(storage: WeightStorage) -> Backbone:
        if storage not in loaded:
            loaded[storage] = load(tiny_root / "flux", weight_storage=storage)
        return loaded[storage]

    return of


def stylized(backbone: Backbone, tiny_root: Path, **params: object) -> GenerationResult:
    """Return a picture in the style of another along a map, by the control LoRA."""
    folders = {"flux1-redux": "flux-redux", "flux1-canny-lora": "flux-control-lora"}
    engine = DiffusionEngine(
        pool=BackboneCache(lambda model: backbone),
        cache=StyleCache([MemoryTier("host", 1 << 24)]),
        technique=registry.technique,
        weights=lambda model: tiny_root / folders[model],
    )
    request = StylizeRequest(
        method="redux",
        model="tiny",
        prompt="a red house",
        seed=SEED,
        width=64,
        height=64,
        steps=2,
        guidance_scale=2.5,
        strength=0.5,
        params={"control": "canny", **params},
    )
    style = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    pictures = Pictures(styles=(style,), control=style.rotate(90))
    return engine.stylize(request, pictures, watch=lambda progress: None)


def pixels_of(made: GenerationResult) -> Tensor:
    return torch.frombuffer(bytearray(made.pictures[0].tobytes()), dtype=torch.uint8).float()


def numbers(backbone: Backbone) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in backbone.denoiser.state_dict().items()}


def same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one.view(torch.uint8), other.view(torch.uint8))


@pytest.mark.parametrize("storage", REDUCED)
def test_the_control_lora_runs_on_reduced_weights_and_the_answer_names_them(
    storage: WeightStorage, kept: Callable[[WeightStorage], Backbone], tiny_root: Path
) -> None:
    full = stylized(kept("full"), tiny_root)
    reduced = stylized(kept(storage), tiny_root)
    again = stylized(kept(storage), tiny_root)
    assert (full.weight_storage, full.warnings) == ("full", ())
    assert reduced.weight_storage == storage
    assert storage in reduced.warnings[-1]
    off = (pixels_of(full) - pixels_of(reduced)).abs().mean()
    assert 0 < off < 25
    assert reduced.pictures[0].tobytes() == again.pictures[0].tobytes()


def test_float8_keeps_its_weights_small_after_a_job(kept: Callable[[WeightStorage], Backbone], tiny_root: Path) -> None:
    backbone = kept("float8")
    before = numbers(backbone)
    assert before["transformer_blocks.0.attn.to_q.weight"].dtype == torch.float8_e4m3fn
    assert before["transformer_blocks.0.attn.norm_q.weight"].dtype == torch.float32
    stylized(backbone, tiny_root)
    assert all(same(tensor, before[name]) for name, tensor in backbone.denoiser.state_dict().items())
    assert backbone.fingerprint != kept("full").fingerprint


def test_a_unet_stays_as_it_is(tiny_root: Path) -> None:
    backbone = load(tiny_root / "sd15", weight_storage="float8")
    assert backbone.weight_storage == "full"
    assert {tensor.dtype for tensor in backbone.denoiser.parameters()} == {torch.float32}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_storage, "find_spec", lambda name: None)
    assert weight_storage.missing_package("torchao-int8") == "torchao"
    assert weight_storage.missing_package("float8") is None
