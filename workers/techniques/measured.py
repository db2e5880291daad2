"""Which technique does best on a base model, as `stylize eval` measured it."""

from model_store.catalogue.entry import Base
from model_store.catalogue.evaluation import EvaluationFigures, MethodFigures
from workers.techniques import registry


def rank_methods(evaluation: EvaluationFigures | None, base: Base) -> tuple[MethodFigures, ...]:
    """Return the figures of each measured technique at its default strength on a base, the best technique first."""
    if evaluation is None:
        return ()
    found: dict[str, MethodFigures] = {}
    for figures in evaluation.figures:
        distance = _distance(figures, base)
        if distance is None:
            continue
        known = found.get(figures.method)
        if known is None or distance < (_distance(known, base) or 0.0):
            found[figures.method] = figures
    return tuple(sorted(found.values(), key=score, reverse=True))


def score(figures: MethodFigures) -> float:
    """Return how good pictures are: how near the style, times how many show what was asked and nothing leaked."""
    return figures.style_similarity.mean * figures.content_accuracy.mean * (1 - figures.leak_rate.mean)


def _distance(figures: MethodFigures, base: Base) -> float | None:
    """Return how far a strength is from the technique's default; None for what is no technique of this base."""
    if figures.strength is None or figures.method not in registry.names():
        return None
    defaults = registry.spec(figures.method).bases.get(base)
    return None if defaults is None else abs(figures.strength - defaults.strength)
