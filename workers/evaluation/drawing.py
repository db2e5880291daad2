"""The cases drawn by the service's own engine, in this process."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from workers.contract.jobs.models import StylizeRequest
from workers.contract.spec import Spec
from workers.engine.backbones.load import load
from workers.engine.backbones.pool import BackboneCache
from workers.engine.engine import DiffusionEngine
from workers.engine.types import BatchItem, Pictures
from workers.evaluation.cases import Case
from workers.settings import WorkerSettings
from workers.techniques import registry
from workers.training.starter.world.picture import SIZE
from workers.worker import base_models, resources

BATCH = 8
MODEL = "starter"


class Drawer:
    """Draws cases with one base model, several at a time where the technique can."""

    def __init__(self, folder: Path, settings: WorkerSettings) -> None:
        """`folder` is that of the base model."""
        backbone = load(
            folder,
            name=MODEL,
            device=resources.device_of(settings),
            dtype=base_models.DTYPES.get(settings.worker_dtype),
        )
        cache, weights = resources.style_cache(settings), resources.weights(settings.model_dir)
        pool = BackboneCache(lambda _: backbone)
        self.backbone = backbone
        self.engine = DiffusionEngine(pool=pool, cache=cache, technique=registry.technique, weights=weights)

    def runnable(self) -> list[Spec]:
        """Return the specs of the techniques that are made for this base model."""
        return [spec for spec in map(registry.spec, registry.names()) if self.backbone.base in spec.bases]

    def draw(self, spec: Spec, cases: Sequence[Case], strength: float) -> tuple[list[Image.Image], float]:
        """Return one picture per case and the seconds that each took. Raises Refused, WeightsMissing and the like."""
        began = time.perf_counter()
        drawn = [picture for part in _parts(cases) for picture in self._batch(spec, part, strength)]
        return drawn, (time.perf_counter() - began) / len(cases)

    def _batch(self, spec: Spec, cases: Sequence[Case], strength: float) -> Iterator[Image.Image]:
        works = [
            BatchItem(self._request(spec, case, strength), self._pictures(spec, case), _unwatched) for case in cases
        ]
        for outcome in self.engine.run_batch(works):
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome.pictures[0]

    def _request(self, spec: Spec, case: Case, strength: float) -> StylizeRequest:
        defaults = spec.bases[self.backbone.base]
        return StylizeRequest(
            method=spec.name,
            model=MODEL,
            prompt=case.prompt,
            seed=case.seed,
            width=SIZE,
            height=SIZE,
            steps=defaults.steps,
            guidance_scale=defaults.guidance_scale,
            strength=strength,
        )

    @staticmethod
    def _pictures(spec: Spec, case: Case) -> Pictures:
        wanted = spec.inputs.driven_by == "image"
        return Pictures(styles=(case.style,), content=case.content if wanted else None)


def _parts(cases: Sequence[Case]) -> Iterator[Sequence[Case]]:
    return (cases[start : start + BATCH] for start in range(0, len(cases), BATCH))


def _unwatched(_: object) -> None:
    return
