"""The tiny models: bit-equal to what was recorded, built once by processes that race, without touching randomness."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.tiny import models


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three processes build the same model at the same time."""
    folder = tmp_path_factory.mktemp("tiny")
    words = [sys.executable, "-m", "tests.support.tiny.models", str(folder), "--only", "clip-vision"]
    racing = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in racing:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert out.strip() == str(folder / "clip-vision")
    return folder


def test_processes_may_race(built: Path) -> None:
    assert [path.name for path in built.iterdir()] == ["clip-vision"]
    models.verify(built / "clip-vision", "clip-vision")


def test_the_callers_randomness_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    models.build(tmp_path, "clip-vision")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_is_there_is_used(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "BUILDERS", {})
    assert models.build(built, "clip-vision") == built / "clip-vision"


def test_another_result_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = tmp_path / "sums.json"
    sums.write_text(json.dumps({"clip-vision": {"config.json": "0" * 64}}))
    monkeypatch.setattr(models, "SUMS", sums)
    with pytest.raises(models.TinyModelError, match="differs from its recorded sum"):
        models.build(tmp_path / "models", "clip-vision")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_half_folder_is_not_taken_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "clip-vision").mkdir()
    (tmp_path / "clip-vision" / "config.json").write_text("{}")
    with pytest.raises(models.TinyModelError, match="incomplete"):
        models.build(tmp_path, "clip-vision")
