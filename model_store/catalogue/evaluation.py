"""What `stylize eval` measured of the methods on a shipped model, as the file beside its weights says."""

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from model_store.catalogue.entry import Entry


class EvaluationPart(BaseModel):
    """Immutable data; what a newer evaluation adds is left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class MeasuredMean(EvaluationPart):
    """A mean over the cases with its 95 % interval."""

    mean: float
    low: float
    high: float


class MethodFigures(EvaluationPart):
    """A method at a strength. `strength` is None for what was measured without any method."""

    method: str
    strength: float | None
    style_similarity: MeasuredMean
    content_accuracy: MeasuredMean
    leak_rate: MeasuredMean


class EvaluationFigures(EvaluationPart):
    """All that was measured on one model."""

    cases: int
    figures: tuple[MethodFigures, ...]


@cache
def evaluation_of(entry: Entry) -> EvaluationFigures | None:
    """Return what was measured on a model; None where nothing ships with it."""
    if entry.evaluation is None:
        return None
    file = Path(__file__).parents[1] / entry.evaluation
    return EvaluationFigures.model_validate_json(file.read_bytes())
