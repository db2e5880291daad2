"""What an evaluation leaves behind: figures as JSON and Markdown, a labelled sheet, the trade-off as a picture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from PIL import Image

from workers.contract.errors import Misconfigured
from workers.evaluation.cases import Case, pixels
from workers.evaluation.figures import Figures, table
from workers.training.starter.sheet import contact_sheet


@dataclass(frozen=True)
class Report:
    """The figures over `cases` on the starter model; `skipped` says of each method that did not run why."""

    cases: int
    figures: Sequence[Figures]
    skipped: Mapping[str, str]

    def markdown(self) -> str:
        """Return the figures as a table, with what they are."""
        lines = [
            f"The starter model, {self.cases} references in styles and object-style pairs never trained on, one "
            "other object asked of each, the same seeds for every row; means with 95 % bootstrap intervals.",
            "",
            table(self.figures),
        ]
        return "\n".join(lines + [f"- not run: `{method}`: {why}" for method, why in self.skipped.items()])

    def write(self, folder: Path) -> None:
        """Write `evaluation.json` and `evaluation.md`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "evaluation.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        (folder / "evaluation.md").write_text(self.markdown())


def plot(figures: Sequence[Figures], path: Path) -> None:
    """Draw content accuracy over style similarity: one curve per method over strength, the baselines as points.

    Raises Misconfigured when the extra `plots` is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as missing:
        raise Misconfigured("matplotlib is not installed: pip install 'stylize[plots]'") from missing
    picture = Figure(figsize=(7, 5), layout="constrained")
    axes = picture.subplots()
    for method, group in groupby(figures, key=lambda one: one.method):
        points = list(group)
        x = [one.style_similarity.mean for one in points]
        y = [one.content_accuracy.mean for one in points]
        axes.plot(x, y, marker="o", linestyle="-" if len(points) > 1 else "", label=method)
    axes.set(xlabel="style similarity to the reference", ylabel="content accuracy", ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    picture.savefig(path, dpi=120, metadata={"Software": None})


def sheet(cases: Sequence[Case], columns: Mapping[str, Sequence[Image.Image]]) -> Image.Image:
    """Return a row per case: the reference, then what each method made of it, labelled."""
    shown = {"reference": [case.style for case in cases], **columns}
    cells = [pictures[row] for row in range(len(cases)) for pictures in shown.values()]
    return contact_sheet(pixels(cells), [case.prompt for case in cases], list(shown))
