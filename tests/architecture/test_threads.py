"""Background threads share one loop: how they start, wait and end is written once."""

import ast

from tests.architecture.test_house_rules import FILES, ROOT


def test_thread_is_subclassed_once() -> None:
    subclasses = {
        f"{path.relative_to(ROOT).as_posix()}:{node.name}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        if {ast.unparse(base).rpartition(".")[2] for base in node.bases} & {"Thread", "Timer"}
    }
    assert subclasses == {"workers/worker/threads/periodic.py:PeriodicThread"}
