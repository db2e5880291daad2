"""A style that `train` wrote and `stylize models add` took runs by its id, as the service finds it."""

from pathlib import Path

import pytest

from model_store.add.add import add
from tests.unit.engine.test_engine import quiet, request
from tests.unit.techniques.prior_noise.test_style_noise import trained
from workers.engine.backbones.pool import BackboneCache
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.engine import DiffusionEngine
from workers.engine.errors import WeightsMissing
from workers.engine.types import Pictures
from workers.techniques import registry
from workers.worker.resources import loras, weights

__all__ = ["trained"]


def test_an_added_style_is_used(sd15: StableDiffusion, trained: Path, tmp_path: Path) -> None:
    engine = DiffusionEngine(
        pool=BackboneCache(lambda model: sd15),
        cache=StyleCache([MemoryTier("host", 1 << 26)]),
        technique=registry.technique,
        weights=weights(tmp_path),
        find_lora=loras(tmp_path),
    )
    asked = request(method="style-noise", params={"style": "ink"}, style_images=())
    with pytest.raises(WeightsMissing, match="ink"):
        engine.stylize(asked, Pictures(), watch=quiet)
    add(trained, "ink", tmp_path)
    styled = engine.stylize(asked, Pictures(), watch=quiet).pictures[0]
    plain = engine.stylize(asked.model_copy(update={"strength": 0.0}), Pictures(), watch=quiet).pictures[0]
    assert styled.tobytes() != plain.tobytes()
