"""`python -m tests.architecture.tables --write`: write the tables of README and docs that come from the code."""

import re
import sys
from pathlib import Path

from tests.architecture.source import DEEP, PACKAGES, ROOT, tree_of
from workers.contract.spec import Spec
from workers.techniques import registry

README = ROOT / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
OPERATING = ROOT / "docs" / "operating.md"


def techniques() -> list[str]:
    return [
        "| method | family | driven by | base models | paper |",
        "|---|---|---|---|---|",
        *map(_row, registry.names()),
    ]


def _row(name: str) -> str:
    spec: Spec = registry.spec(name)
    bases = ", ".join(base.upper() for base in spec.bases)
    return f"| `{name}` | {spec.family} | {spec.inputs.driven_by} | {bases} | [{spec.paper.title}]({spec.paper.url}) |"


def targets() -> list[str]:
    found = re.findall(r"^([a-z-]+):.*## (.*)$", (ROOT / "Makefile").read_text(), re.M)
    return ["| target | what it does |", "|---|---|", *(f"| `make {name}` | {what} |" for name, what in found)]


def rooms() -> list[str]:
    """Return a line for each room: the first sentence of its `__init__.py`."""
    deep = tuple(package.replace(".", "/") for package in DEEP)
    folders = [ROOT / package for package in PACKAGES] + [ROOT / package for package in deep]
    found = sorted({child for folder in folders for child in folder.iterdir() if (child / "__init__.py").exists()})
    return [f"- `{path.relative_to(ROOT)}`: {_sentence(path)}" for path in found]


def _sentence(folder: Path) -> str:
    for node in tree_of(folder / "__init__.py").body[:1]:
        doc = getattr(getattr(node, "value", None), "value", None)
        if isinstance(doc, str):
            return " ".join(doc.split("\n\n")[0].split())
    return ""


TABLES = {(README, "techniques"): techniques, (OPERATING, "targets"): targets, (ARCHITECTURE, "rooms"): rooms}


def written(file: Path, name: str) -> str:
    """Return the file with its table as the code has it."""
    before, mark, rest = file.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    assert mark, f"{file.name} has no place for {name}"
    assert end, f"{file.name} has no place for {name}"
    return before + mark + "".join(f"{line}\n" for line in TABLES[file, name]()) + end + after


if __name__ == "__main__":
    for file, name in TABLES:
        text = written(file, name)
        if "--write" in sys.argv[1:]:
            file.write_text(text)
        elif text != file.read_text():
            sys.exit(f"{file.name}: the table {name} is not the code's; run: make docs")
