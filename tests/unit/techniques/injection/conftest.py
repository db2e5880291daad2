"""The tiny SD1.5 as the recorded cases have it: at its full peakedness an inversion amplifies rounding without end."""

from pathlib import Path

import pytest

from tests.parity.lab import multiply
from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion


@pytest.fixture(scope="session")
def sd15(tiny_root: Path) -> StableDiffusion:
    backbone = load(tiny_root / "sd15")
    multiply(backbone.denoiser, ["to_q.weight", "to_k.weight"], 0.5)
    backbone.fingerprint += "-halved"
    return backbone
