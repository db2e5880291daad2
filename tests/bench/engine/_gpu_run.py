"""What a row of the GPU benchmark runs on: the engine around one base model, its style cache, and the clock."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workers.contract.jobs.models import Progress, StylizeRequest
from workers.engine.backbones.pipeline import PipelineBackbone
from workers.engine.backbones.pool import BackboneCache
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.engine import DiffusionEngine
from workers.engine.technique import Pictures
from workers.techniques import registry

ROUNDS = 3
PROMPT = "a house by a lake"
Rows = dict[str, Callable[[], object]]


def fastest(work: Callable[[], object], device: torch.device, rounds: int = ROUNDS) -> float:
    """Median seconds after one unmeasured run."""
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


class Bench:
    """A base model with a cold or warm cache of styles; `weights` finds what methods need by catalogue id."""

    def __init__(self, backbone: PipelineBackbone, weights: Callable[[str], Path]) -> None:
        self.backbone = backbone
        self._tiers = [MemoryTier("device", 20_000_000_000, backbone.device)]
        self._weights = weights

    def run(self, method: str, pictures: Pictures, **asked: Any) -> object:
        """Make pictures with a method; `asked` are fields of the request."""
        spec = registry.spec(method)
        given = {"guidance_scale": spec.bases[self.backbone.base].guidance_scale, "strength": 1.0, **asked}
        request = StylizeRequest(method=method, model=self.backbone.name, prompt=PROMPT, seed=1, **given)
        engine = DiffusionEngine(
            pool=BackboneCache(lambda _: self.backbone),
            cache=StyleCache(self._tiers),
            technique=registry.technique,
            weights=self._weights,
        )
        return engine.stylize(request, pictures, watch=ignore)

    def cold(self, method: str, pictures: Pictures, **asked: Any) -> object:
        """Make pictures with nothing known of the style."""
        for tier in self._tiers:
            tier.clear()
        return self.run(method, pictures, **asked)

    def decoded(self, latents: Tensor) -> list[Tensor]:
        """Return pictures of latents (n, channels, h, w), one by one as the engine decodes them."""
        with torch.no_grad():
            return [self.backbone.decode(each[None]) for each in latents]


def ignore(_: Progress) -> None:
    return None
