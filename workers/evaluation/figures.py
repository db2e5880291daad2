"""What is measured of a method at a strength, and how it is told."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from workers.evaluation.cases import Case, pixels
from workers.training.starter.judges import Judges
from workers.training.starter.metrics import Measured, content_accuracy, leak_rate, style_similarity
from workers.training.starter.networks.patch_code import as_tensor

PLAIN = "plain text-to-image"
CONTENT = "content picture untouched"


@dataclass(frozen=True)
class Figures:
    """A method at a strength over the same cases. `strength` is None for the two baselines."""

    method: str
    strength: float | None
    content_accuracy: Measured
    style_similarity: Measured
    leak_rate: Measured
    seconds: float

    @property
    def row(self) -> str:
        """A row of the Markdown table."""
        strength = "" if self.strength is None else f"{self.strength:g}"
        judged = f"{self.style_similarity} | {self.content_accuracy} | {self.leak_rate}"
        return f"| {self.method} | {strength} | {judged} | {self.seconds:.2f} |"


COLUMNS = ("method", "strength", "style similarity", "content accuracy", "leak rate", "seconds a picture")
HEADER = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def judged(
    judges: Judges,
    asked: Sequence[Case],
    drawn: Sequence[Image.Image],
    method: str,
    strength: float | None,
    seconds: float,
) -> Figures:
    """Return the figures of the pictures drawn for the cases, in their order."""
    made, references = as_tensor(pixels(drawn)), as_tensor(pixels([case.style for case in asked]))
    wanted, shown = [case.asked for case in asked], [case.shown for case in asked]
    return Figures(
        method,
        strength,
        content_accuracy(judges, made, wanted),
        style_similarity(judges, made, references),
        leak_rate(judges, made, wanted, shown),
        seconds,
    )


def table(figures: Sequence[Figures]) -> str:
    """Return the Markdown table of all figures."""
    return "\n".join([HEADER, *(one.row for one in figures)]) + "\n"
