"""Which module of this folder runs a case, and which registered technique it is about."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from torch import Tensor

from tests.parity.case import Case
from tests.parity.lab import Lab
from workers.techniques import registry


class NotBuiltError(Exception):
    """The technique of a case is not built."""


def technique_of(case: Case) -> str:
    """Return the registered technique a case is about. Raises NotBuiltError when there is none."""
    name = str(_module(case).technique_of(case))
    if name not in registry.names():
        raise NotBuiltError(f"technique {name} is not built")
    return name


def run(case: Case, lab: Lab) -> Mapping[str, Tensor]:
    """Return what the real technique computes for a case, by the recorded names. Raises NotBuiltError."""
    technique_of(case)
    found: Mapping[str, Tensor] = _module(case).run(case, lab)
    return found


def _module(case: Case) -> ModuleType:
    stem = case.family.replace("-", "_")
    if not stem.isidentifier() or find_spec(f"tests.parity.families.{stem}") is None:
        raise NotBuiltError(f"no technique of family {case.family} is built")
    return import_module(f"tests.parity.families.{stem}")
