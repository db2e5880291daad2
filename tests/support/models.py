"""Fixtures: the tiny base models, built once for all test processes and never changed by a test."""

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel

from model_store.catalogue.entry import Base
from tests.parity.__main__ import CACHE, ROOT
from tests.parity.lab import data_root
from workers.engine.backbones.flux import Flux
from workers.engine.backbones.flux2 import Flux2
from workers.engine.backbones.load import load
from workers.engine.backbones.pipeline import PipelineBackbone
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.technique import PrepareContext


@pytest.fixture(scope="session")
def tiny_root() -> Path:
    torch.set_num_threads(1)
    return data_root(ROOT / ".." / "shared", CACHE) / "tiny-models"


@pytest.fixture(scope="session")
def sd15(tiny_root: Path) -> StableDiffusion:
    return load(tiny_root / "sd15")


@pytest.fixture(scope="session")
def controlnet(sd15: StableDiffusion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ControlNet of the tiny SD1.5 model that counts: its last layers are not zeros."""
    torch.manual_seed(0)
    net = ControlNetModel.from_unet(sd15.denoiser, conditioning_embedding_out_channels=(8, 16, 32, 32))
    for part in (*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out):
        torch.nn.init.normal_(part.weight, std=0.2)
    folder = tmp_path_factory.mktemp("controlnet")
    net.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sdxl(tiny_root: Path) -> StableDiffusion:
    return load(tiny_root / "sdxl")


@pytest.fixture(scope="session")
def flux(tiny_root: Path) -> Flux:
    return flux_of(tiny_root, "flux")


@pytest.fixture(scope="session")
def flux_fill(tiny_root: Path) -> Flux:
    return flux_of(tiny_root, "flux-fill")


def flux_of(tiny_root: Path, base: Base) -> Flux:
    """Return the tiny FLUX model of an architecture, one for each process."""
    loaded = tiny_of(tiny_root, base)
    assert isinstance(loaded, Flux)
    return loaded


@cache
def tiny_of(tiny_root: Path, base: Base) -> PipelineBackbone:
    """Return the tiny model of an architecture, one for each process."""
    return load(tiny_root / base)


@pytest.fixture(scope="session")
def flux2(tiny_root: Path) -> Flux2:
    loaded = tiny_of(tiny_root, "flux2-klein")
    assert isinstance(loaded, Flux2)
    return loaded


@pytest.fixture(params=["sd15", "sdxl"])
def backbone(request: pytest.FixtureRequest) -> StableDiffusion:
    return request.getfixturevalue(request.param)


def around(unet: Any, base: Base = "sd15", dtype: torch.dtype = torch.float32) -> StableDiffusion:
    """A base model that is a UNet alone, which may be on the meta device: nothing can be encoded."""
    vae = SimpleNamespace(config=SimpleNamespace(latent_channels=4, block_out_channels=(1, 1, 1, 1)))
    pipe = SimpleNamespace(unet=unet, vae=vae, scheduler=SimpleNamespace(config={}))
    return StableDiffusion(pipe, name=base, base=base, fingerprint="", dtype=dtype)


def no_weights(name: str) -> Path:
    raise KeyError(name)


@pytest.fixture
def context(sd15: StableDiffusion) -> PrepareContext:
    return PrepareContext(sd15, RequestCache(StyleCache([MemoryTier("host", 1 << 28)])), no_weights)
