"""The source as the tests of its structure read it: modules, their rooms and what they import."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("app", "workers", "model_store", "deploy")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if "cases" not in path.parts)
DEEP = ("workers.contract", "workers.techniques", "workers.training")
"""Packages whose folders are rooms of their own."""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def room_of(module: str) -> str:
    """Return the folder below its package that a module lies in; a loose file is a room of its own."""
    depth = 3 if module.startswith(DEEP) else 2
    return ".".join(module.split(".")[:depth])


def imports_of(module: str) -> Iterator[str]:
    """Yield the modules of ours that a module imports, those inside functions and for types alone included."""
    for node in ast.walk(tree_of(MODULES[module])):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
