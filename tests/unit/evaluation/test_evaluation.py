import json
import sys

import pytest
import torch
from PIL import Image

from tests.support.tiny import models
from workers.evaluation.__main__ import main, write
from workers.evaluation.cases import cases
from workers.evaluation.drawing import Drawer
from workers.evaluation.evaluate import Evaluation
from workers.evaluation.figures import CONTENT, PLAIN
from workers.settings import WorkerSettings
from workers.training.starter.judges import Judges, ObjectJudge, StyleJudge
from workers.training.starter.recipe import RECIPES

OBJECTS = RECIPES["cpu"].objects


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory) -> Evaluation:
    """On the tiny random model, by judges that know nothing: the way is the same."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("evaluation")
    judges = Judges(ObjectJudge(OBJECTS).eval(), StyleJudge().eval())
    drawer = Drawer(models.build(folder, "sd15"), WorkerSettings(model_dir=folder, worker_device="cpu"))
    return Evaluation(drawer, judges, cases(RECIPES["cpu"], 2))


@pytest.fixture(scope="module")
def report(evaluation):
    return evaluation.run(["signal-leak", "deadiff"], [0.0, 1.0])


def test_baselines_come_first_and_every_strength_has_its_row(report) -> None:
    rows = [(one.method, one.strength) for one in report.figures]
    assert rows == [(PLAIN, None), (CONTENT, None), ("signal-leak", 1.0), ("signal-leak", 0.0)]


def test_a_method_without_its_weights_is_named_with_the_reason(report) -> None:
    assert "stylize models pull" in report.skipped["deadiff"]


def test_strength_0_is_plain_text_to_image(report) -> None:
    plain, at_0 = report.figures[0], report.figures[3]
    assert at_0.style_similarity == plain.style_similarity
    assert report.figures[2].style_similarity != plain.style_similarity


def test_the_report_is_written_for_people_and_programs(evaluation, report, tmp_path) -> None:
    write(evaluation, report, tmp_path)
    assert len(json.loads((tmp_path / "evaluation.json").read_text())["figures"]) == 4
    assert "| signal-leak | 1 |" in (tmp_path / "evaluation.md").read_text()
    with Image.open(tmp_path / "trade-off.png") as plot, Image.open(tmp_path / "sheet.png") as sheet:
        assert plot.width > 600
        assert sheet.height > 2 * 128


def test_without_matplotlib_the_plot_alone_is_left_out(evaluation, report, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write(evaluation, report, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"evaluation.json", "evaluation.md", "sheet.png"}
    assert (
        "trade-off.png is left out: matplotlib is not installed: pip install 'stylize[plots]'"
        in capsys.readouterr().err
    )


def test_without_the_model_the_command_says_so(tmp_path, capsys) -> None:
    assert main(["--model-folder", str(tmp_path)]) == 2
    assert "recipe.json" in capsys.readouterr().err


def test_a_strength_out_of_range_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--strength", "2"])
    assert "between 0 and 1" in capsys.readouterr().err
