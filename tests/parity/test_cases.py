"""Every copied case of a registered technique passes; every registered technique has a case."""

from pathlib import Path

import pytest
import torch

from tests.parity import case as cases
from tests.parity import families
from tests.parity.__main__ import CACHE, ROOT, errors, main
from tests.parity.case import Case
from tests.parity.lab import Lab, data_root
from workers.techniques import registry

HERE = Path(__file__).parent / "cases"


def built(case: Case) -> bool:
    try:
        families.technique_of(case)
    except families.NotBuiltError:
        return False
    return True


FOUND = [case for case in cases.find(HERE, CACHE) if built(case)]


@pytest.fixture(scope="module")
def lab() -> Lab:
    torch.set_num_threads(1)
    return Lab()


@pytest.fixture(scope="module")
def root() -> Path:
    return data_root(ROOT / ".." / "shared", CACHE)


@pytest.mark.parametrize("case", FOUND, ids=lambda case: str(case.folder.relative_to(HERE)))
def test_case_is_inside_its_tolerance(case: Case, lab: Lab, root: Path) -> None:
    found = errors(Case(case.folder, root), lab)
    assert max(found.values()) <= 1, found


def test_every_registered_technique_has_a_case() -> None:
    assert {families.technique_of(case) for case in FOUND} == set(registry.names())


def test_a_folder_without_cases_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["parity", "--cases", str(tmp_path)])
    assert main() == 1
    assert "no case below" in capsys.readouterr().out


def test_a_case_of_an_unknown_family_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "case.json").write_text('{"technique": "telepathy", "variant": "x"}')
    monkeypatch.setattr("sys.argv", ["parity", "--cases", str(tmp_path)])
    assert main() == 1
    assert "no technique of family telepathy" in capsys.readouterr().out
