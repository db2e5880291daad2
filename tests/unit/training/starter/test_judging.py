import json

import numpy as np
import pytest
import torch

from workers.training.starter.evaluate import AdapterFigures, StarterEvaluation
from workers.training.starter.export import DIGESTS, require_quality, write_digests, wrong_files
from workers.training.starter.judges import Judges, ObjectJudge, StyleJudge, load_judges, save_judges
from workers.training.starter.metrics import Measured, content_accuracy, leak_rate, measured, style_similarity
from workers.training.starter.sheet import contact_sheet
from workers.training.starter.train import main as train


class Seer(ObjectJudge):
    """Sees the object whose index is the picture's first pixel."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(pictures[:, 0, 0, 0].long(), len(self.objects)).float()


@pytest.fixture
def judges() -> Judges:
    torch.manual_seed(0)
    return Judges(Seer(("cat", "cup", "fish")).eval(), StyleJudge().eval())


def pictures(*indices: int) -> torch.Tensor:
    return torch.tensor(indices, dtype=torch.float32)[:, None, None, None].expand(-1, 3, 128, 128).contiguous()


def test_content_accuracy_counts_prompted_objects(judges) -> None:
    assert content_accuracy(judges, pictures(0, 1, 2, 2), ["cat", "cup", "cat", "cup"]).mean == 0.5


def test_leaks_are_counted_only_where_another_object_was_asked_for(judges) -> None:
    rate = leak_rate(judges, pictures(0, 1, 2), ["cat", "fish", "fish"], ["cat", "cup", "cat"])
    assert rate.mean == 0.5


def test_a_picture_has_the_style_of_itself(judges) -> None:
    drawn = torch.rand(4, 3, 128, 128)
    assert style_similarity(judges, drawn, drawn).mean == pytest.approx(1.0, abs=1e-5)


def test_the_interval_holds_the_mean_and_narrows_with_more_pictures() -> None:
    values = [float(index % 2) for index in range(40)]
    few, many = measured(values), measured(values * 25)
    assert few.low < few.mean < few.high
    assert many.high - many.low < few.high - few.low
    with pytest.raises(ValueError, match="nothing"):
        measured([])


def test_judges_survive_their_file(tmp_path) -> None:
    torch.manual_seed(0)
    judges = Judges(ObjectJudge(("cat", "cup")).eval(), StyleJudge().eval())
    save_judges(judges, tmp_path / "judges.safetensors")
    again = load_judges(tmp_path / "judges.safetensors")
    drawn = torch.rand(3, 3, 128, 128) * 2 - 1
    assert again.objects.objects == ("cat", "cup")
    assert torch.allclose(again.objects(drawn), judges.objects(drawn), atol=1e-2)
    assert torch.allclose(again.embed_style(drawn), judges.embed_style(drawn), atol=1e-2)


def test_a_model_whose_objects_cannot_be_named_is_not_exported(tmp_path) -> None:
    report = tmp_path / "evaluation.json"
    with pytest.raises(FileNotFoundError):
        require_quality(report)
    report.write_text(json.dumps({"plain_content_accuracy": {"mean": 0.89}}))
    with pytest.raises(ValueError, match="gate"):
        require_quality(report)
    report.write_text(json.dumps({"plain_content_accuracy": {"mean": 0.91}}))
    require_quality(report)


def test_digests_find_changed_and_missing_files(tmp_path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    (tmp_path / "a.txt").write_text("a")
    write_digests(tmp_path)
    assert wrong_files(tmp_path) == []
    (tmp_path / "unet" / "config.json").write_text("{ }")
    (tmp_path / "a.txt").unlink()
    assert wrong_files(tmp_path) == ["a.txt", "unet/config.json"]
    assert (tmp_path / DIGESTS).exists()


def test_the_report_lists_every_scale() -> None:
    figure = Measured(0.5, 0.4, 0.6)
    rows = tuple(AdapterFigures(scale, figure, figure, figure) for scale in (0.0, 1.0))
    text = StarterEvaluation("cpu", 10, 500, figure, 1.5, rows).markdown()
    assert "0.500 [0.400, 0.600]" in text
    assert text.count("\n| ") == 3


def test_a_sheet_has_a_cell_for_every_picture() -> None:
    sheet = contact_sheet(np.zeros((6, 8, 8, 3), np.uint8), ["a", "b"], ["x", "y", "z"], labelled=False)
    assert sheet.size == (24, 16)
    with pytest.raises(ValueError, match="do not fill"):
        contact_sheet(np.zeros((5, 8, 8, 3), np.uint8), ["a", "b"], ["x", "y", "z"])


def test_the_command_explains_itself(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        train(["--help"])
    assert ended.value.code == 0
    assert "--stage" in capsys.readouterr().out
