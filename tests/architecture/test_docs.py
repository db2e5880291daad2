"""README and docs say what the code says, and name only what is there."""

import re
from pathlib import Path

import pytest

from tests.architecture.source import FILES, ROOT
from tests.architecture.tables import TABLES, rooms, written

DOCUMENTS = sorted(
    [*{*ROOT.glob("*.md")} - {ROOT / "CHANGELOG.md"}, *(ROOT / "docs").glob("*.md"), ROOT / "deploy" / "runbook.md"]
)
NOT_COMMITTED = "deploy/compose/secrets/"
OURS = re.compile(r"(?<![\w/.-])((?:app|workers|model_store|deploy|tests|docs)/[\w./-]*[\w/])")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


@pytest.mark.parametrize(("file", "name"), TABLES, ids=lambda value: getattr(value, "name", value))
def test_a_table_is_what_the_code_says(file: Path, name: str) -> None:
    assert file.read_text() == written(file, name), "run: make docs"


def test_every_room_says_what_it_is_in_a_sentence() -> None:
    assert [line for line in rooms() if line.endswith(": ")] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_only_what_is_in_the_tree(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    named = {name for name in OURS.findall(text) if "grey_start" not in name}
    named = {name for name in named if not name.startswith(NOT_COMMITTED)}
    assert {name for name in named if not list(ROOT.glob(name))} == set()
    assert set(re.findall(r"`make ([a-z-]+)", text)) - TARGETS == set()


def test_no_file_names_a_document_that_is_not_in_the_tree() -> None:
    names = {path.name for path in ROOT.rglob("*.md") if ".venv" not in path.parts}
    mentions = re.compile(r"\b[\w-]+\.md\b")
    found = {f"{path.relative_to(ROOT)}: {name}" for path in FILES for name in mentions.findall(path.read_text())}
    assert {line for line in found if line.split(": ")[1] not in names} == set()
