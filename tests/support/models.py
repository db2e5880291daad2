"""Fixtures: the tiny base models, built once for all test processes and never changed by a test."""

from pathlib import Path

import pytest
import torch

from tests.parity.__main__ import CACHE, ROOT
from tests.parity.lab import data_root
from workers.engine.backbones.stable_diffusion import Backbone, load
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.technique import PrepareContext


@pytest.fixture(scope="session")
def tiny_root() -> Path:
    torch.set_num_threads(1)
    return data_root(ROOT / ".." / "shared", CACHE) / "tiny-models"


@pytest.fixture(scope="session")
def sd15(tiny_root: Path) -> Backbone:
    return load(tiny_root / "sd15")


@pytest.fixture(scope="session")
def sdxl(tiny_root: Path) -> Backbone:
    return load(tiny_root / "sdxl")


@pytest.fixture(params=["sd15", "sdxl"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return request.getfixturevalue(request.param)


def no_weights(name: str) -> Path:
    raise KeyError(name)


@pytest.fixture
def context(sd15: Backbone) -> PrepareContext:
    return PrepareContext(sd15, RequestCache(StyleCache([MemoryTier("host", 1 << 28)])), no_weights)
