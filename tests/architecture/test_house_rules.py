"""The rules of the house that no linter knows."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("app", "workers", "model_store", "deploy")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
VAGUE = {"utils", "helpers", "common", "manager"}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_and_so_are_its_functions(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300, "a file holds one concept: at most 300 lines"
    assert not [(name, lines) for name, lines in functions(path) if lines > 50], "a function has at most 50 lines"


def test_no_file_has_a_vague_name() -> None:
    assert not [path for path in FILES if path.stem in VAGUE or path.parent.name in VAGUE]


def test_only_settings_read_the_environment() -> None:
    readers = {path.relative_to(ROOT).as_posix() for path in FILES if "os.environ" in path.read_text()}
    passes_it_on = {"deploy/embedded/processes.py", "deploy/embedded/stack.py", "deploy/embedded/redis.py"}
    assert readers - passes_it_on <= {"workers/contract/runtime/settings.py"}


def test_only_the_converting_child_and_the_training_of_our_own_model_unpickle() -> None:
    unpickles = re.compile(r"torch\.load\(|\bpickle\.load|\bUnpickler\(")
    readers = {path.relative_to(ROOT).as_posix() for path in FILES if unpickles.search(path.read_text())}
    assert readers == {"model_store/convert/unpickle.py", "workers/training/starter/workspace.py"}


def test_the_gateway_never_imports_torch() -> None:
    program = (
        "import sys, app.main, app.cli.main\n"
        "sys.exit(' '.join(sys.modules.keys() & {'torch', 'diffusers', 'transformers'}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_neither_the_sweeper_nor_the_specs_import_torch() -> None:
    program = (
        "import sys, workers.sweeper\n"
        "from workers.techniques import registry\n"
        "specs = [registry.spec(name) for name in registry.names()]\n"
        "sys.exit(' '.join(sys.modules.keys() & {'torch', 'diffusers', 'transformers'}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
