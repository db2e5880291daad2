"""Content accuracy, style similarity and leak rate, each with a bootstrap confidence interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from workers.training.starter.judges import Judges

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measured:
    """A mean over pictures and its percentile bootstrap interval at 95 %."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def measured(values: Sequence[float], seed: int = 0) -> Measured:
    """Mean and interval of one value per picture (Efron 1979)."""
    samples = np.asarray(values, dtype=np.float64)
    if samples.size == 0:
        raise ValueError("nothing to measure")
    chosen = np.random.default_rng(seed).integers(0, samples.size, (RESAMPLES, samples.size))
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(samples[chosen].mean(axis=1), [tail, 100 - tail])
    return Measured(float(samples.mean()), float(low), float(high))


def content_accuracy(judges: Judges, pictures: Tensor, prompted: Sequence[str]) -> Measured:
    """Share of pictures (n, 3, 128, 128) in [-1, 1] in which the judge sees the prompted object."""
    seen = judges.classify(pictures)
    return measured([float(name == wanted) for name, wanted in zip(seen, prompted, strict=True)])


def style_similarity(judges: Judges, pictures: Tensor, references: Tensor) -> Measured:
    """Mean cosine between the style embeddings of each picture and its reference."""
    cosine = (judges.embed_style(pictures) * judges.embed_style(references)).sum(dim=1)
    return measured(cosine.tolist())


def leak_rate(judges: Judges, pictures: Tensor, prompted: Sequence[str], referenced: Sequence[str]) -> Measured:
    """Share of pictures that show the reference's object, over those whose prompt asks for another."""
    seen = judges.classify(pictures)
    cases = zip(seen, prompted, referenced, strict=True)
    return measured([float(name == other) for name, wanted, other in cases if wanted != other])
