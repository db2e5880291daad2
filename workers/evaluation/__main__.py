"""`python -m workers.evaluation`, or `stylize eval`: judge every technique on the starter model.

Each reference shows an object in a style that training never saw; another object is asked for. Style similarity says
how much of the reference's style the picture has, content accuracy whether it shows what was asked for, the leak rate
how often it shows the reference's object instead. All three by judges trained on real pictures of the same world.
"""

import argparse
import sys
from pathlib import Path

from model_store.catalogue import folder_of
from workers.contract.errors import Misconfigured
from workers.evaluation.cases import cases
from workers.evaluation.drawing import MODEL, Drawer
from workers.evaluation.evaluate import Evaluation
from workers.evaluation.report import Report, plot
from workers.settings import WorkerSettings
from workers.techniques import registry
from workers.training.starter.export import recipe_of
from workers.training.starter.judges import load_judges


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    described = argparse.ArgumentParser(prog="stylize eval", description=__doc__)
    described.add_argument("--out", type=Path, default=Path("evaluation"), help="folder for the report (%(default)s)")
    described.add_argument("--cases", type=int, default=64, help="references (%(default)s)")
    described.add_argument("--method", nargs="*", default=[], choices=registry.names(), help="default: all that run")
    described.add_argument("--strength", nargs="*", type=float, default=[0.25, 0.5, 0.75, 1.0], help="%(default)s")
    described.add_argument("--model-folder", type=Path, help="default: the starter model shipped")
    return described


def main(arguments: list[str] | None = None) -> int:
    """Write the report; returns the exit status."""
    options = parser().parse_args(arguments)
    if options.cases < 2 or not all(0 <= strength <= 1 for strength in options.strength):
        parser().error("--cases must be at least 2, every --strength between 0 and 1")
    try:
        settings = WorkerSettings.read()
        folder = options.model_folder or folder_of(MODEL, settings.model_dir)
        recipe, judges = recipe_of(folder), load_judges(folder / "judges.safetensors")
        drawer = Drawer(folder, settings)
    except (Misconfigured, FileNotFoundError) as missing:
        print(f"stylize eval: {missing}", file=sys.stderr)
        return 2
    evaluation = Evaluation(drawer, judges, cases(recipe, options.cases))
    report = evaluation.run(options.method, options.strength)
    write(evaluation, report, options.out)
    for method, why in report.skipped.items():
        print(f"not run: {method}: {why}")
    print(f"written to {options.out}")
    return 0


def write(evaluation: Evaluation, report: Report, folder: Path) -> None:
    """Write figures, sheet and plot; without the extra `plots`, say that the plot is left out."""
    report.write(folder)
    evaluation.sheet(folder / "sheet.png")
    try:
        plot(report.figures, folder / "trade-off.png")
    except Misconfigured as missing:
        print(f"stylize eval: trade-off.png is left out: {missing}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
