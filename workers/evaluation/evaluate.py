"""Run the evaluation: the baselines, then every technique over the strengths."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from rich.progress import track

from workers.contract.spec import Spec
from workers.engine.errors import Refused, WeightsMissing
from workers.evaluation.cases import Case
from workers.evaluation.drawing import Drawer
from workers.evaluation.figures import CONTENT, HEADER, PLAIN, Figures, judged
from workers.evaluation.report import Report, sheet
from workers.techniques import registry
from workers.training.starter.judges import Judges

SHEET_ROWS = 8
UNTOUCHED = "signal-leak"
"""The technique that stands for plain text-to-image at strength 0: it needs no weights of its own."""


@dataclass
class Evaluation:
    """One evaluation under way."""

    drawer: Drawer
    judges: Judges
    cases: Sequence[Case]
    figures: list[Figures] = field(default_factory=list)
    columns: dict[str, list[Image.Image]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def run(self, methods: Sequence[str], strengths: Sequence[float]) -> Report:
        """Measure the baselines, and the methods (when none is named: all that the model runs) at each strength.

        The highest goes first: at 0 a method may do without its weights, and its absence would not show.
        """
        specs = [spec for spec in self.drawer.runnable() if not methods or spec.name in methods]
        print(HEADER, flush=True)
        self._baselines()
        runs = [(spec, strength) for spec in specs for strength in sorted(strengths, reverse=True)]
        for spec, strength in track(runs, "evaluating"):
            self._measure(spec, strength)
        return Report(len(self.cases), self.figures, self.skipped)

    def sheet(self, path: Path) -> None:
        """Write the labelled sheet of the first cases, every method at the highest strength measured."""
        rows = self.cases[:SHEET_ROWS]
        sheet(rows, {name: drawn[: len(rows)] for name, drawn in self.columns.items()}).save(path)

    def _baselines(self) -> None:
        drawn, seconds = self.drawer.draw(registry.spec(UNTOUCHED), self.cases, 0.0)
        self._keep(PLAIN, None, drawn, seconds)
        self._keep(CONTENT, None, [case.content for case in self.cases], 0.0)

    def _measure(self, spec: Spec, strength: float) -> None:
        if spec.name in self.skipped:
            return
        try:
            drawn, seconds = self.drawer.draw(spec, self.cases, strength)
        except (Refused, WeightsMissing) as cannot:
            self.skipped[spec.name] = str(cannot)
        else:
            self._keep(spec.name, strength, drawn, seconds)

    def _keep(self, name: str, strength: float | None, drawn: list[Image.Image], seconds: float) -> None:
        self.figures.append(judged(self.judges, self.cases, drawn, name, strength, seconds))
        print(self.figures[-1].row, flush=True)
        self.columns.setdefault(name, drawn)
