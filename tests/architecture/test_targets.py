"""What the make targets run beside `make test` keeps up with the code."""

import re
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import tests.bench

ROOT = Path(__file__).parents[2]
RUN = sorted(set(re.findall(r"-m (tests\.[\w.]+)", (ROOT / "Makefile").read_text())))
BENCHES = [found.name for found in walk_packages(tests.bench.__path__, "tests.bench.")]


@pytest.mark.parametrize("name", [name for name in (*RUN, *BENCHES) if not name.endswith("__main__")])
def test_a_module_of_a_target_can_be_imported(name: str) -> None:
    import_module(name)
